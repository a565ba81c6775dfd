// One message, or one album, as an element.

import { fileUrl } from "./api.js";
import { bytes, clock, h } from "./dom.js";
import { formatted, link, summary } from "./text.js";

/**
 * The element of `messages`: one, or those of an album. `mine`: the reader wrote it; `named`: the sender's name
 * shows. `actions` are `open(photo, name)`, `reply(message)`, `go(id)`, `say(text)`, `tap(message, data, button)`.
 */
export function bubble(messages, { mine, named, actions }) {
  const [first] = messages;
  const keyboard = messages.map((message) => buttons(message, actions)).find(Boolean);
  return h(
    "article",
    { class: `message ${mine ? "mine" : "theirs"}`, data: { id: first.message_id }, tabIndex: -1 },
    h("div", { class: "bubble" }, ...content(messages, { mine, named, actions })),
    keyboard,
  );
}

function content(messages, { mine, named, actions }) {
  const [first] = messages;
  const edited = messages.some((message) => message.edit_date);
  return [
    h("p", { class: named ? "sender" : "sender unseen" }, h("bdi", {}, mine ? "You" : first.from.first_name)),
    note(first),
    first.reply_to_message ? quote(first.reply_to_message, actions) : null,
    ...media(messages, actions),
    ...messages.map((message) => words(message, actions)),
    h(
      "p",
      { class: "foot" },
      h("button", { type: "button", class: "reply", onclick: () => actions.reply(first) }, "Reply"),
      edited ? h("span", {}, "edited") : null,
      h("time", { dateTime: new Date(first.date * 1000).toISOString() }, clock(first.date)),
    ),
  ];
}

/** Where a message comes from, or what it is where it is none of the reader's or the bot's words. */
function note({ forward_origin: origin, pinned_message: pinned }) {
  if (!origin && !pinned) return null;
  const from = origin?.sender_user?.first_name ?? origin?.sender_user_name ?? "somebody";
  return h("p", { class: "note", dir: "auto" }, origin ? "Forwarded from " : "Pinned: ", h("bdi", {}, origin ? from : summary(pinned)));
}

function words(message, actions) {
  const [text, entities] = message.text ? [message.text, message.entities] : [message.caption, message.caption_entities];
  return text ? h("div", { class: "words", dir: "auto" }, ...formatted(text, entities, actions.say)) : null;
}

function quote(message, actions) {
  const who = h("bdi", { class: "sender" }, message.from.first_name);
  const said = h("span", { dir: "auto" }, summary(message));
  const label = "Go to the message that this answers";
  return h("button", { type: "button", class: "quote", title: label, onclick: () => actions.go(message.message_id) }, who, said);
}

function media(messages, actions) {
  const photos = messages.filter((message) => message.photo);
  const documents = messages.filter((message) => message.document);
  return [
    photos.length ? h("div", { class: `photos n${Math.min(photos.length, 5)}` }, ...photos.map((message) => photo(message, actions))) : null,
    ...documents.map((message) => file(message.document)),
  ];
}

function photo(message, actions) {
  const shown = message.photo.find(({ width, height }) => Math.max(width, height) >= 700) ?? message.photo.at(-1);
  const largest = message.photo.at(-1);
  const name = message.caption ? `Photo: ${message.caption}` : "Photo";
  const image = h("img", { src: fileUrl(shown.file_id), alt: name, width: shown.width, height: shown.height, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(h("span", { class: "gone" }, "This photo is gone")));
  const open = () => actions.open(fileUrl(largest.file_id), name);
  return h("button", { type: "button", class: "photo", "aria-label": `Enlarge. ${name}`, data: { id: message.message_id }, onclick: open }, image);
}

function file(document) {
  const address = fileUrl(document.file_id);
  const preview = /^image\/(jpeg|png|webp)$/.test(document.mime_type)
    ? h("img", { src: address, alt: "", loading: "lazy", width: 48, height: 48 })
    : h("img", { src: "/web/file.svg", alt: "", class: "icon" });
  return h(
    "a",
    { class: "file", href: address, download: document.file_name },
    preview,
    h("span", {}, h("bdi", { class: "name" }, document.file_name), h("small", {}, bytes(document.file_size))),
  );
}

function buttons(message, actions) {
  const rows = message.reply_markup?.inline_keyboard;
  if (!rows) return null;
  return h("div", { class: "keyboard" }, ...rows.map((row) => h("div", {}, ...row.map((one) => button(message, one, actions)))));
}

function button(message, { text, callback_data: data, url, copy_text: copy }, actions) {
  if (data !== undefined) {
    const made = h("button", { type: "button" }, text);
    made.addEventListener("click", () => actions.tap(message, data, made));
    return made;
  }
  if (url !== undefined) return link(url, text);
  if (copy) return h("button", { type: "button", onclick: () => navigator.clipboard.writeText(copy.text) }, text);
  return h("button", { type: "button", disabled: true, title: "This sandbox has no such buttons" }, text);
}
