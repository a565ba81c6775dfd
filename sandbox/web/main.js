// The page: chooses whose chat is open (kept in the address), and joins the parts.

import * as api from "./api.js";
import { Composer } from "./composer.js";
import { $, h, show } from "./dom.js";
import { showKeyboard } from "./keyboard.js";
import { offerSamples } from "./samples.js";
import { name, Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { Timeline } from "./timeline.js";
import { Tour } from "./tour.js";

const ACTIONS = {
  typing: "is writing …",
  upload_photo: "is sending a photo …",
  upload_document: "is sending a file …",
};
const ACTION_SECONDS = 5; // that a chat action shows, as in Telegram
const TOAST_SECONDS = 4;
const AGAIN = 1000; // milliseconds between tries to reach the sandbox
const THEMES = ["system", "light", "dark"];

const store = new Store();
const composer = new Composer();
const sidebar = new Sidebar(store, (person, place) => visit(person, place));
const timeline = new Timeline(store, {
  open: enlarge,
  reply: (message) => composer.reply(message),
  say: (text) => composer.send({ text }),
  tap,
});
const attach = (path) => composer.attachSample(path);
const tour = new Tour(store, {
  say: (text) => composer.send({ text }),
  sendSamples: (paths, caption) => composer.sendSamples(paths, caption),
  attach,
  visit: (id) => visit(store.people.get(id), { bot: open.bot, chat: id }),
});

let me = null;
let open = null;
let quiet; // the timer that ends a chat action
const taps = new Map(); // query id → the button that waits for its answer
const answers = new Map(); // answers that came before their query's id was known

/** The address says who looks at which chat, so that it can be kept, shared and opened twice. */
const visit = (person, place) => {
  location.hash = new URLSearchParams({ ...place, person: person.id });
};

function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const people = sidebar.people();
  const person = people.find(({ id }) => id === Number(wanted.get("person"))) ?? people[0];
  const chats = person ? sidebar.chatsOf(person) : [];
  const fits = (chat) => chat.bot === Number(wanted.get("bot")) && chat.info.id === Number(wanted.get("chat"));
  return { person, chat: chats.find(fits) ?? chats[0], isNamed: chats.some(fits) };
}

async function follow() {
  const { person, chat, isNamed } = fromAddress();
  const isNew = chat !== open || person?.id !== me?.id;
  me = person;
  open = chat ?? null;
  show($("nobody"), !open);
  show($("chat"), Boolean(open));
  document.body.classList.toggle("reading", isNamed);
  sidebar.show(me, open);
  tour.showIn(open, me);
  if (!open || !isNew) return;
  $("title").replaceChildren(h("bdi", {}, name(open, store)));
  subtitle();
  composer.open(open, me);
  keyboard();
  await timeline.open(open, me);
}

function subtitle(words) {
  clearTimeout(quiet);
  if (!open) return;
  const bot = store.bots.find(({ id }) => id === open.bot);
  const group = open.info.type === "private" ? "" : `${open.info.type} with `;
  $("subtitle").textContent = words ?? `${group}@${bot?.username ?? "bot"}`;
}

function keyboard() {
  showKeyboard(open.keyboard, (text) => composer.send({ text }));
  composer.suggest(open.keyboard?.input_field_placeholder);
}
store.addEventListener("keyboard", ({ detail }) => {
  if (detail.chat !== open) return;
  keyboard();
  if (detail.reply_markup.force_reply) composer.reply(open.messages.get(detail.message_id) ?? null);
});

store.addEventListener("chat_action", ({ detail }) => {
  if (detail.chat !== open) return;
  subtitle(`The bot ${ACTIONS[detail.action] ?? "is busy …"}`);
  quiet = setTimeout(subtitle, ACTION_SECONDS * 1000);
});
store.addEventListener("sent", ({ detail }) => {
  if (detail.chat === open && detail.message.from.is_bot) subtitle();
});

async function tap(message, data, button) {
  button.setAttribute("aria-busy", "true");
  try {
    const query = await api.tap(open.place, me, message.message_id, data);
    taps.set(query, button);
    if (answers.has(query)) answered(answers.get(query));
  } catch (error) {
    button.removeAttribute("aria-busy");
    toast(error.message);
  }
}

store.addEventListener("callback_answered", ({ detail }) => answered(detail));

/** Only the window in which the button was tapped shows the answer. */
function answered(event) {
  const button = taps.get(event.callback_query_id);
  if (!button) return void (event.from_id === me?.id && answers.set(event.callback_query_id, event));
  taps.delete(event.callback_query_id);
  answers.delete(event.callback_query_id);
  button.removeAttribute("aria-busy");
  if (!event.text) return;
  if (!event.show_alert) return toast(event.text);
  $("alert-text").textContent = event.text;
  $("alert").showModal();
}

let fading;
function toast(words) {
  $("toast").textContent = words;
  clearTimeout(fading);
  fading = setTimeout(() => $("toast").replaceChildren(), TOAST_SECONDS * 1000);
}

function enlarge(address, words) {
  const image = $("viewer").querySelector("img");
  image.src = address;
  image.alt = words;
  $("viewer").showModal();
}
$("viewer").addEventListener("click", ({ target }) => target.tagName !== "BUTTON" && $("viewer").close());

function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  localStorage.setItem("theme", chosen);
  $("theme").setAttribute("aria-label", `Colours: ${chosen === "system" ? "as the system has them" : chosen}`);
}
$("theme").addEventListener("click", () => {
  theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});
theme(localStorage.getItem("theme") ?? "system");

$("back").addEventListener("click", () => visit(me));
$("address").textContent = `${location.origin}/bot`;
window.addEventListener("hashchange", follow);
store.addEventListener("connected", () => {
  show($("lost"), !store.connected);
  if (store.connected && open && !open.loaded) timeline.open(open, me); // It may have been lost in the middle.
});
store.addEventListener("chats", () => open || follow());
store.addEventListener("reset", async () => {
  open = null;
  const isGuided = store.guide.steps.length > 0; // Then whoever leads the tour starts the bot, too.
  show($("starting"), isGuided);
  show($("instructions"), !isGuided);
  offerSamples(store.guide.samples !== null, async () => (await api.world()).guide.samples, attach);
  await follow();
  await tour.start();
});

async function start() {
  try {
    await store.start();
  } catch {
    show($("lost"), true);
    setTimeout(start, AGAIN);
  }
}
await start();
