"""The real vLLM, on a CPU: run where `LLMOPS_TEST_VLLM` names one (`.ci/vllm/install.sh`)."""
