// The person's side of the sandbox, over HTTP.

const CLIENT = "/client";

async function checked(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `The sandbox answered ${response.status}.`);
  return body;
}

const get = (path, query = {}) => fetch(`${CLIENT}${path}?${new URLSearchParams(query)}`).then(checked);

export const fileUrl = (fileId) => `${CLIENT}/files/${encodeURIComponent(fileId)}`;
export const sampleUrl = (path) => `${CLIENT}/samples/${path.split("/").map(encodeURIComponent).join("/")}`;
export const streamUrl = (after) => `${CLIENT}/stream?after=${after}`;

export const world = () => get("/world");

/** The latest messages of a chat, or those before the message `before`. */
export async function messages(place, count, before) {
  const query = { bot: place.bot, latest: count, ...(before ? { before } : {}) };
  return (await get(`/chats/${place.chat}/messages`, query)).messages;
}

export async function commands(place, person) {
  const query = { bot: place.bot, from_id: person.id, from_language: person.language_code ?? "" };
  return (await get(`/chats/${place.chat}/commands`, query)).commands;
}

/** Sends text, or files of one `kind` (photo or document; several are an album) with a caption. */
export async function send(place, person, { text, files = [], kind = "photo", caption, replyTo }) {
  const form = new FormData();
  const fields = {
    bot: place.bot,
    from_id: person.id,
    from_name: person.first_name,
    from_language: person.language_code,
    text,
    caption,
    reply_to_message_id: replyTo,
  };
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  for (const file of files) form.append(kind, file, file.name);
  await fetch(`${CLIENT}/chats/${place.chat}/messages`, { method: "POST", body: form }).then(checked);
}

/** Taps a button; returns the number under which the bot's answer will come. */
export async function tap(place, person, messageId, data) {
  const body = {
    bot: place.bot,
    from_id: person.id,
    from_name: person.first_name,
    from_language: person.language_code,
    message_id: messageId,
    data,
  };
  const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return (await fetch(`${CLIENT}/chats/${place.chat}/callbacks`, request).then(checked)).callback_query_id;
}
