// The switch in ComfyUI's top bar, and the token by which ComfyUI's server knows its own pages.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const PREFIX = "/comfy-runpod";
const PAGE_HEADER = "X-Comfy-RunPod-Page";
const NAME_HEADER = "X-Comfy-RunPod-Workflow";
const STATE_EVENT = "comfy-runpod.state";
const NOTE_EVENT = "comfy-runpod.note";

const plainFetch = api.fetchApi.bind(api);
let state = { mode: "local", connected: false, endpoint: "", active: false };
let token = null;
let asking = null;
let view = null;

async function askState() {
  asking ??= plainFetch(`${PREFIX}/state`, { cache: "no-store" })
    .then(async (answer) => {
      if (!answer.ok) return;
      const { token: own, ...told } = await answer.json();
      token = own;
      state = told;
    })
    .catch(() => {})
    .finally(() => {
      asking = null;
    });
  await asking;
}

function workflowName() {
  try {
    const open = app.extensionManager?.workflow?.activeWorkflow;
    return open?.filename ?? "";
  } catch {
    return "";
  }
}

function needsToken(route, options) {
  if (route.startsWith("/object_info")) return true;
  return route === "/prompt" && options?.method === "POST";
}

function withToken(options) {
  const headers = new Headers(options?.headers);
  headers.set(PAGE_HEADER, token ?? "");
  headers.set(NAME_HEADER, encodeURIComponent(workflowName()));
  return { ...options, headers: Object.fromEntries(headers) };
}

// As early as this file is read: the lists of nodes are asked for before any setup.
api.fetchApi = async function (route, options) {
  if (!needsToken(route, options)) return plainFetch(route, options);
  if (token === null) await askState();
  const answer = await plainFetch(route, withToken(options));
  if (answer.status !== 403) return answer;
  // ComfyUI was started anew, with another token.
  await askState();
  return plainFetch(route, withToken(options));
};

const STYLE = `
.comfy-runpod { display: inline-flex; align-items: center; gap: 2px; padding: 2px; margin: 0 8px;
  border-radius: 8px; background: var(--comfy-input-bg, #222); border: 1px solid var(--border-color, #4e4e4e);
  font: 500 13px/20px Inter, system-ui, sans-serif; pointer-events: auto; }
.comfy-runpod button { border: 0; border-radius: 6px; padding: 3px 10px; cursor: pointer;
  background: transparent; color: var(--descrip-text, #999); font: inherit; }
.comfy-runpod button[aria-checked="true"] { background: var(--comfy-menu-bg, #353535);
  color: var(--input-text, #ddd); }
.comfy-runpod button[aria-checked="true"][data-mode="local"] { color: #5ad3c6; }
.comfy-runpod button[aria-checked="true"][data-mode="runpod"] { color: #bba4ff; }
.comfy-runpod button:disabled { cursor: default; opacity: 0.5; }
.comfy-runpod button:focus-visible { outline: 2px solid #8f88ff; }
.comfy-runpod.away { border-color: #d9982b; }
.comfy-runpod.loose { position: fixed; top: 8px; left: 50%; margin: 0; z-index: 1000; }
`;

const WORDS = { local: "Local", runpod: "RunPod" };

function makeView() {
  const style = document.createElement("style");
  style.textContent = STYLE;
  document.head.append(style);
  view = document.createElement("div");
  view.className = "comfy-runpod";
  view.setAttribute("role", "radiogroup");
  view.setAttribute("aria-label", "Where Run runs");
  for (const mode of ["local", "runpod"]) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.mode = mode;
    button.textContent = WORDS[mode];
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => choose(mode));
    view.append(button);
  }
  place();
}

function place() {
  const bar = app.menu?.settingsGroup?.element;
  if (bar?.isConnected) {
    view.classList.remove("loose");
    bar.before(view);
  } else {
    view.classList.add("loose");
    document.body.append(view);
    // Newer pages let nobody into their bar, which can be moved: stand beside it, wherever that is.
    follow();
    setInterval(follow, 500);
  }
}

function follow() {
  const run = document.querySelector('[data-testid="queue-button"]');
  const bar = (run?.closest(".actionbar") ?? run)?.getBoundingClientRect();
  if (!bar?.width) return;
  const left = bar.left - view.offsetWidth - 12;
  view.style.left = `${left > 0 ? left : Math.max(bar.right - view.offsetWidth, 0)}px`;
  view.style.top = `${left > 0 ? bar.top + (bar.height - view.offsetHeight) / 2 : bar.bottom + 8}px`;
}

function show() {
  if (view === null) return;
  const away = state.mode === "runpod" && !state.connected;
  view.classList.toggle("away", away);
  const where = state.mode === "runpod" ? `Run goes to ${state.endpoint || "RunPod"}, which costs money` : "Run runs on this computer";
  view.title = away ? "The Comfy RunPod panel is not running: nothing is sent" : where;
  for (const button of view.children) {
    button.setAttribute("aria-checked", String(button.dataset.mode === state.mode));
    button.disabled = button.dataset.mode === "runpod" && !state.connected && state.mode !== "runpod";
  }
}

function say(severity, summary, detail) {
  app.extensionManager?.toast?.add?.({ severity, summary, detail, life: 6000 });
}

async function choose(mode) {
  if (mode === state.mode) return;
  const send = () =>
    plainFetch(`${PREFIX}/mode`, {
      method: "POST",
      headers: { "Content-Type": "application/json", [PAGE_HEADER]: token ?? "" },
      body: JSON.stringify({ mode }),
    });
  let answer = await send();
  if (answer.status === 403) {
    await askState();
    answer = await send();
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) say("error", "The switch stays where it is", told.error ?? `Status ${answer.status}`);
  if (told.mode) take(told);
}

function take(told) {
  const moved = told.mode !== state.mode || told.endpoint !== state.endpoint;
  const { error, ...rest } = told;
  state = { ...state, ...rest };
  show();
  // What can be chosen in the nodes is other than before.
  if (moved) app.refreshComboInNodes?.();
}

app.registerExtension({
  name: "ComfyRunPod.Routing",
  commands: [
    {
      id: "ComfyRunPod.Toggle",
      label: "Run on RunPod or on this computer",
      function: () => choose(state.mode === "runpod" ? "local" : "runpod"),
    },
  ],
  aboutPageBadges: [{ label: "Comfy RunPod", url: "https://www.runpod.io", icon: "pi pi-cloud" }],
  async setup() {
    await askState();
    makeView();
    show();
    api.addEventListener(STATE_EVENT, (event) => take(event.detail));
    api.addEventListener(NOTE_EVENT, (event) => say("warn", "Comfy RunPod", event.detail.text));
    // After a new start of ComfyUI the token is another one.
    api.addEventListener("reconnected", async () => {
      await askState();
      show();
    });
    if (state.mode === "runpod") app.refreshComboInNodes?.();
  },
});
