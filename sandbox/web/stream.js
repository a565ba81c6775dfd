// The events of every chat as they happen; connects again by itself, and notices when another sandbox answers.

import { streamUrl } from "./api.js";

/**
 * While the page is in sight, as a browser has six connections for all its windows.
 * Calls `on.event(event)`, `on.bots()`, `on.connected(yes)`, and `on.world({world, bots})` at each connection.
 */
export function listen(after, on) {
  let last = after;
  let source;
  let retry;

  function close() {
    clearTimeout(retry);
    source?.close();
  }

  function open() {
    close();
    if (document.hidden) return;
    source = new EventSource(streamUrl(last));
    source.onopen = () => on.connected(true);
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      last = event.seq;
      on.event(event);
    };
    source.addEventListener("world", ({ data }) => on.world(JSON.parse(data)));
    source.addEventListener("bots", () => on.bots());
    source.onerror = () => {
      on.connected(false);
      // A browser gives up on an answer that is no stream, as from a proxy or another program on the port.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 1000);
    };
  }

  document.addEventListener("visibilitychange", open);
  open();
  return () => {
    document.removeEventListener("visibilitychange", open);
    close();
  };
}
