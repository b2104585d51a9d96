#!/usr/bin/env bash
# Installs vLLM for a CPU into a new virtual environment: install.sh FOLDER. Takes 80 s and 2.5 GB,
# and needs Linux on x86-64, Python 3.11 and a package index; says in one line what is missing.
# It uses pip: `torch` for CPUs is on PyTorch's own index unless pip is configured to find it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
python=$(command -v python3.11 || command -v python3)
given="$(uname -s) $(uname -m), $("$python" -c 'import sys; print("Python %d.%d" % sys.version_info[:2])')"
if [[ $given != "Linux x86_64, Python 3.11" ]]; then
  echo "it is built for Linux x86_64, Python 3.11, and this is $given"
  exit 1
fi

trouble() {
  echo "it cannot be installed: $(grep -m1 -iE '(^| )error: ' "$folder.log" || tail -n 1 "$folder.log")"
  exit 1
}
"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps)
grep -v '^torch==' "$here/requirements.txt" > "$folder/others.txt"
torch=$(grep '^torch==' "$here/requirements.txt")
"${pip[@]}" "$torch" > "$folder.log" 2>&1 ||
  "${pip[@]}" --index-url https://download.pytorch.org/whl/cpu "$torch" > "$folder.log" 2>&1 || trouble
cp -r "$here/stub" "$folder/stub"
"${pip[@]}" -r "$folder/others.txt" "$folder/stub" > "$folder.log" 2>&1 || trouble
