// A reply keyboard: the bot's suggestions of what to write, below the chat.

import { $, h, show } from "./dom.js";

/** Shows the open chat's keyboard, a Bot API ReplyKeyboardMarkup or its removal; `say(text)` sends what is pressed. */
export function showKeyboard(markup, say) {
  const rows = markup?.keyboard ?? [];
  const press = (text) => {
    say(text);
    if (markup.one_time_keyboard) show($("keyboard"), false);
  };
  const button = ({ text }) => h("button", { type: "button", onclick: () => press(text) }, text);
  $("keyboard").replaceChildren(...rows.map((row) => h("div", {}, ...row.map(button))));
  show($("keyboard"), rows.length > 0);
}
