// Formatted text as elements. Offsets count UTF-16 code units, as JavaScript's strings do.

import { h } from "./dom.js";

const SAFE = new Set(["http:", "https:", "mailto:", "tg:"]);
const TAGS = { bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre" };

/** An address that a reader may follow, or null for one that would run something or leads nowhere. */
export function safeUrl(address) {
  const whole = /^[a-z][a-z0-9+.-]*:/i.test(address) ? address : `https://${address}`;
  try {
    const url = new URL(whole);
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A link that opens beside the chat and tells nobody where it came from; text where the address is not safe. */
export function link(address, ...children) {
  const href = safeUrl(address);
  if (!href) return h("span", {}, ...children);
  return h("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** Nodes for a Bot API text with its entities; `onCommand(text)` is called when a command in it is pressed. */
export function formatted(text, entities = [], onCommand = () => {}) {
  const ordered = entities
    .filter(({ offset, length }) => offset >= 0 && length > 0 && offset + length <= text.length)
    .sort((one, other) => one.offset - other.offset || other.length - one.length);
  return pieces(text, ordered, 0, text.length, onCommand);
}

function pieces(text, entities, start, end, onCommand) {
  const nodes = [];
  let place = start;
  let rest = entities;
  while (rest.length) {
    const [entity, ...others] = rest;
    const stop = entity.offset + entity.length;
    const inside = others.filter(({ offset, length }) => offset + length <= stop);
    rest = others.filter(({ offset }) => offset >= stop);
    if (entity.offset > place) nodes.push(text.slice(place, entity.offset));
    const children = pieces(text, inside, entity.offset, stop, onCommand);
    nodes.push(element(entity, text.slice(entity.offset, stop), children, onCommand));
    place = stop;
  }
  if (place < end) nodes.push(text.slice(place, end));
  return nodes;
}

function element(entity, words, children, onCommand) {
  switch (entity.type) {
    case "url":
    case "email":
      return link(entity.type === "email" ? `mailto:${words}` : words, ...children);
    case "text_link":
      return link(entity.url, ...children);
    case "bot_command":
      return h("button", { type: "button", class: "command", onclick: () => onCommand(words) }, ...children);
    case "blockquote":
    case "expandable_blockquote":
      return h("blockquote", {}, ...children);
    case "spoiler":
      return spoiler(children);
    default:
      return h(TAGS[entity.type] ?? "span", { class: `entity ${entity.type}` }, ...children);
  }
}

function spoiler(children) {
  const words = h("span", { "aria-hidden": "true" }, ...children);
  const hidden = h("button", { type: "button", class: "spoiler", "aria-label": "Hidden text: show it" }, words);
  hidden.addEventListener("click", () => hidden.replaceWith(...words.childNodes), { once: true });
  return hidden;
}

/** What a message says in one line, for lists and quotes. */
export function summary(message) {
  if (message.text) return message.text;
  const kind = message.photo ? "Photo" : message.document ? message.document.file_name : "Message";
  return message.caption ? `${kind}: ${message.caption}` : kind;
}
