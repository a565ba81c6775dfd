// The events of every chat as they happen; connects again by itself, and notices when another sandbox answers.

import { streamUrl } from "./api.js";

const KINDS = { CONNECTING: 0, OPEN: 1, CLOSED: 2 };

/** Calls `on.event(event)`, `on.bots()`, `on.connected(yes)`, and `on.world({world, bots})` at each connection. */
export function listen(after, on) {
  let last = after;
  let source;
  let retry;

  function open() {
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
      if (source.readyState === KINDS.CLOSED) retry = setTimeout(open, 1000);
    };
  }

  open();
  return () => {
    clearTimeout(retry);
    source.close();
  };
}
