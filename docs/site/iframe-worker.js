// Lets the search work on pages opened from a disk, where browsers start no workers: the worker's
// script runs in a hidden frame instead. On a server this file does nothing.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", {data}));
      const script = inside.document.createElement("script");
      script.src = new URL(url, document.baseURI);
      this.ready = new Promise((done) => script.addEventListener("load", done));
      inside.document.head.append(script);
      this.postMessage = (data) => this.ready.then(
        () => inside.dispatchEvent(new inside.MessageEvent("message", {data})));
      this.terminate = () => frame.remove();
    }
  };
}
