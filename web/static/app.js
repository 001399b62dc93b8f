// What the page does by itself: formulas, opening documents, walking between the views, small keyboard and input-method care.
// Everything that comes from the server as HTML was escaped there; nothing here builds HTML from text.
(() => {
  "use strict";
  const settings = document.querySelector("meta[name=mianpu]").dataset;
  const language = settings.language;
  // Gradio writes the browser's language there, which need not be the page's.
  const root = document.documentElement;
  const keepLanguage = () => root.lang !== settings.lang && root.setAttribute("lang", settings.lang);
  new MutationObserver(keepLanguage).observe(root, { attributeFilter: ["lang"] });
  const $ = (selector, from = document) => from.querySelector(selector);
  const buses = {};

  // --- formulas: KaTeX is part of Gradio's own files; without it the TeX source stays readable --------------------
  let katex = null;
  const sheet = new CSSStyleSheet();
  const waiting = new Set();
  if (settings.katex) {
    Promise.all([import(settings.katex), fetch(settings.katexStyle).then((response) => response.text())])
      .then(([module, style]) => {
        // Fonts are declared by the page's own <link>; a sheet inside a shadow root may not declare any. Gradio scopes every rule to
        // its container, which is outside of the shadow root.
        sheet.replaceSync(style.replace(/@font-face\s*\{[^}]*\}/g, "").replace(/\.gradio-container[\w-]*\s+/g, "") + ":host{display:inline} :host([display]){display:block;overflow-x:auto;overflow-y:hidden} .katex-display{margin:.4em 0}");
        katex = module.default;
        waiting.forEach((element) => element.draw());
        waiting.clear();
      })
      .catch(() => {});
  }

  class Tex extends HTMLElement {
    connectedCallback() {
      if (!this.watcher) {
        this.watcher = new MutationObserver(() => this.draw());
        this.watcher.observe(this, { childList: true, characterData: true, subtree: true });
      }
      this.draw();
    }

    draw() {
      if (!katex) {
        waiting.add(this);
        return;
      }
      const root = this.shadowRoot || this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      if (this.drawn === this.textContent) return;
      this.drawn = this.textContent;
      const place = document.createElement("span");
      katex.render(this.drawn, place, { displayMode: this.hasAttribute("display"), throwOnError: false, strict: "ignore", maxSize: 20, maxExpand: 200 });
      root.replaceChildren(place);
    }
  }
  customElements.define("m-tex", Tex);

  // --- small helpers ----------------------------------------------------------------------------------------------
  async function fragment(what, parameters) {
    const response = await fetch(`/mianpu/${language}/${what}?${new URLSearchParams(parameters)}`);
    return response.text();
  }

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  function reveal(element, block = "center") {
    element.scrollIntoView({ block, behavior: calm.matches ? "auto" : "smooth" });
  }

  // Gradio builds a view when it is first opened.
  async function appear(selector) {
    for (let tries = 0; tries < 200; tries++) {
      const found = $(selector);
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return null;
  }

  function isVisible(element) {
    return Boolean(element && element.offsetParent !== null);
  }

  // --- the reader: a document with a span marked, beside the chat or in a dialog elsewhere ------------------------
  let openedFrom = null;
  let opened = null; // the name of the document in the reader
  let mending = false; // a correction of it is on its way
  async function openDocument(name, start, end, from) {
    const html = await fragment("document", { name, start: start ?? "", end: end ?? "" });
    const docked = $("#reader");
    openedFrom = from;
    opened = name;
    let place;
    if (isVisible($("#side")) && docked) {
      $("#side").classList.add("reading");
      place = docked;
    } else {
      place = $("#reader-dialog .reader-body");
      if (!$("#reader-dialog").open) $("#reader-dialog").showModal();
    }
    place.innerHTML = html;
    const mark = $("mark", place);
    place.scrollTop = 0;
    const target = mark || $("h1, h2, p", place);
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (place === docked && matchMedia("(max-width: 960px)").matches) reveal(place, "start");
      if (!mark) return;
      const box = place.querySelector(".reader-text") || place;
      box.scrollTop += target.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
      if (target.getBoundingClientRect().bottom > innerHeight || target.getBoundingClientRect().top < 0) reveal(target);
    }));
    const close = $("[data-act=close-reader]", place);
    if (close) close.focus({ preventScroll: true });
  }

  // After a correction the document is shown as it is now, and what came of it stands above its text.
  async function mended(element) {
    if (!mending || !opened) return;
    mending = false;
    const place = $("#side.reading #reader") || $("#reader-dialog .reader-body");
    const box = $(".reader-text", place);
    const [top, unfolded] = [box ? box.scrollTop : 0, Boolean($(".cuts[open]", place))];
    place.innerHTML = await fragment("document", { name: opened, start: "", end: "" });
    const said = $(".reader-said", place);
    if (!said) return;
    said.textContent = element.textContent.trim();
    said.className = `reader-said notice ${$(".notice.bad", element) ? "bad" : "good"}`;
    if (unfolded) place.querySelectorAll(".cuts").forEach((part) => part.setAttribute("open", ""));
    $(".reader-text", place).scrollTop = top;
    said.scrollIntoView({ block: "nearest" });
  }

  function closeReader() {
    const dialog = $("#reader-dialog");
    if (dialog.open) dialog.close();
    if ($("#side")) $("#side").classList.remove("reading");
    if (openedFrom && openedFrom.isConnected) {
      openedFrom.focus({ preventScroll: true });
      if (matchMedia("(max-width: 960px)").matches) reveal(openedFrom);
    }
    openedFrom = null;
  }

  // --- views ------------------------------------------------------------------------------------------------------
  const views = ["chat", "interview", "concepts", "library", "progress"];
  // While the page is being built, Gradio puts the first view back in front once or twice: ask until the view stays.
  async function show(view) {
    const button = await appear(`#view-${view}-button`);
    for (let tries = 0; button && tries < 50 && button.getAttribute("aria-selected") !== "true"; tries++) {
      button.click();
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  }

  function remember(hash) {
    if (location.hash !== hash) history.pushState(null, "", hash);
  }

  function follow() {
    const [view, ...rest] = location.hash.slice(1).split("/");
    if (!views.includes(view)) return;
    show(view);
    if (view === "concepts" && rest.length) mianpu.openConcept(decodeURIComponent(rest.join("/")), false);
  }

  // --- the concept view -------------------------------------------------------------------------------------------
  let conceptKey = null;
  async function openConcept(key, push = true) {
    show("concepts");
    const place = await appear("#concept-page");
    if (!place) return;
    if (push) remember(`#concepts/${encodeURIComponent(key)}`);
    if (key === conceptKey) return;
    conceptKey = key;
    const [html, map] = await Promise.all([
      fragment("concept", { key }),
      fetch(`/mianpu/${language}/map?${new URLSearchParams({ key })}`).then((response) => (response.ok ? response.json() : null)),
    ]);
    if (key !== conceptKey) return;
    // The map stays in place while its surroundings change, so that its nodes can move to where they belong now.
    const drawing = $("#concept-map") || Object.assign(document.createElement("div"), { id: "concept-map" });
    place.innerHTML = html;
    $(".map-place", place)?.append(drawing);
    if (map && mianpu.drawMap) mianpu.drawMap(drawing, map);
    document.querySelectorAll("#concept-index [data-key]").forEach((item) => {
      item.setAttribute("aria-current", item.dataset.key === key ? "true" : "false");
    });
    const current = $("#concept-index [aria-current=true]");
    if (current) {
      current.closest("details")?.setAttribute("open", "");
      const list = $("#concept-index .areas");
      if (list && list.scrollHeight > list.clientHeight) {
        const offset = current.getBoundingClientRect().top - list.getBoundingClientRect().top;
        if (offset < 0 || offset > list.clientHeight - 30) list.scrollTop += offset - list.clientHeight / 2;
      }
    }
    if (matchMedia("(max-width: 960px)").matches && push) reveal(place, "start");
  }

  // Before a concept is chosen the page shows the most written about, and the map around the first of them.
  async function drawWelcome() {
    const place = await appear("#concept-page");
    if (!place || conceptKey) return;
    const html = await fragment("welcome", {});
    if (conceptKey) return;
    place.innerHTML = html;
    const box = $("[data-map]", place);
    if (!box) return;
    const response = await fetch(`/mianpu/${language}/map?${new URLSearchParams({ key: box.dataset.map })}`);
    if (!response.ok || conceptKey) return;
    const drawing = box.appendChild(Object.assign(document.createElement("div"), { id: "concept-map" }));
    mianpu.drawMap(drawing, await response.json());
  }

  function fits(item, wanted) {
    return !wanted || item.dataset.names.includes(wanted);
  }

  const folded = (text) => text.normalize("NFKC").toLowerCase().trim();

  function filterConcepts(text) {
    const wanted = folded(text);
    document.querySelectorAll("#concept-index details").forEach((area) => {
      let left = 0;
      area.querySelectorAll("li").forEach((item) => {
        item.hidden = !fits(item, wanted);
        left += item.hidden ? 0 : 1;
      });
      area.hidden = left === 0;
      if (wanted) area.open = true;
    });
    const none = $("#concept-index .none");
    if (none) none.hidden = Boolean($("#concept-index details:not([hidden])"));
  }

  // Enter in the box opens the concept of exactly that name, else the first in the list.
  function openFound(text) {
    const wanted = folded(text);
    const left = [...document.querySelectorAll("#concept-index details:not([hidden]) li:not([hidden]) button")];
    const found = left.find((button) => folded(button.firstElementChild.textContent) === wanted) || left[0];
    if (wanted && found) openConcept(found.dataset.key);
  }

  // Boxes that narrow a list, whose rows say by which names they are found.
  function filterRows(box) {
    const place = $(box.dataset.filter);
    const wanted = folded(box.value);
    let left = 0;
    place.querySelectorAll("li[data-names]").forEach((item) => {
      item.hidden = !fits(item, wanted);
      left += item.hidden ? 0 : 1;
    });
    const none = $(".none", place);
    if (none) none.hidden = left > 0;
  }

  async function findPath(form) {
    const place = $(".path-result", form.parentElement);
    const data = new FormData(form);
    place.innerHTML = await fragment("path", { a: data.get("a"), b: data.get("b") });
    reveal(place.querySelector("li") || place, "nearest");
  }

  // --- one listener for every click -------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab][id^=view-]");
    if (tab && event.isTrusted) remember(`#${tab.id.slice(5, -7)}`);
    if (tab && tab.id === "view-concepts-button" && !conceptKey) drawWelcome();
    const target = event.target.closest("[data-open],[data-go],[data-act],[data-send]");
    if (!target) return;
    if (target.dataset.open !== undefined) {
      event.preventDefault();
      openDocument(target.dataset.open, target.dataset.start, target.dataset.end, target);
    } else if (target.dataset.go) {
      event.preventDefault();
      go(target.dataset.go, target.dataset);
    } else if (target.dataset.send) {
      event.preventDefault();
      const [bus, name] = target.dataset.send.split(":");
      if (target.dataset.sure && !target.classList.contains("sure")) {
        const before = target.textContent;
        target.textContent = target.dataset.sure;
        target.classList.add("sure");
        setTimeout(() => {
          target.textContent = before;
          target.classList.remove("sure");
        }, 3000);
        return;
      }
      if (target.classList.contains("mend")) {
        mending = true;
        target.closest(".reader-text").querySelectorAll(".mend").forEach((other) => { other.disabled = true; });
      }
      send(bus, name, { value: target.dataset.value || "" });
    } else {
      act(target.dataset.act, target, event);
    }
  });

  function go(where, data) {
    if ($("#reader-dialog").open) $("#reader-dialog").close();
    if (where === "concept") openConcept(data.key);
    else if (where === "ask") {
      show("chat");
      remember("#chat");
      send("chat", "ask", { value: data.value });
    } else if (where === "practise") {
      show("interview");
      remember("#interview");
      send("interview", "practise", { value: data.value });
    } else if (where === "starter") {
      show("library");
      remember("#library");
      appear("#starter").then((button) => button?.click());
    } else {
      show(where);
      remember(`#${where}`);
    }
  }

  function send(bus, name, payload) {
    const trigger = buses[bus];
    if (trigger) trigger(name, payload);
  }

  function act(what, target, event) {
    if (what === "close-reader") closeReader();
    else if (what === "language") {
      event.preventDefault();
      document.cookie = `mianpu_language=${target.dataset.value}; path=/; max-age=31536000; samesite=strict`;
      location.reload();
    } else if (what === "toggle") document.getElementById(target.dataset.value)?.classList.toggle("open");
    else if (what === "rename") rename(target);
    else if (what === "copy") copy(target);
    else if (what === "down") $("#conversation").scrollTo({ top: $("#conversation").scrollHeight, behavior: calm.matches ? "auto" : "smooth" });
    else if (what === "edit-question") editInPlace(target, "question");
    else if (what === "edit-meant") editInPlace(target, "meant");
  }

  // The clipboard is there on this computer and over HTTPS; on a plain address of the network the text is selected instead.
  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.value);
    } catch {
      getSelection().selectAllChildren($(".prose:last-of-type", button.closest(".answer")));
      return;
    }
    const before = button.textContent;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = before; }, 1600);
  }

  // The last question, or what it is understood as, becomes a box; Enter asks it again so.
  function editInPlace(button, what) {
    const shown = $("p", button.parentElement);
    if (!shown || $("textarea", button.parentElement)) return;
    const box = document.createElement("textarea");
    box.value = shown.textContent;
    box.rows = Math.min(6, 1 + Math.floor(box.value.length / 40));
    box.setAttribute("aria-label", button.textContent);
    const hint = Object.assign(document.createElement("small"), { className: "edit-hint", textContent: button.dataset.hint || "" });
    shown.replaceWith(box);
    box.after(hint);
    button.hidden = true;
    box.focus();
    box.select();
    const leave = () => {
      hint.remove();
      box.replaceWith(shown);
      button.hidden = false;
      button.focus({ preventScroll: true });
    };
    box.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Escape") leave();
      else if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        const text = box.value.trim();
        leave();
        if (text) send("chat", "again", { [what]: text });
      }
      event.stopPropagation();
    });
  }

  function rename(button) {
    const row = button.closest("li");
    const title = $(".title", row);
    if (!title || $("input", row)) return;
    const box = document.createElement("input");
    box.value = title.textContent;
    box.setAttribute("aria-label", button.title);
    title.replaceWith(box);
    box.focus();
    box.select();
    let over = false;
    const done = (keep) => {
      if (over) return; // taking the box away makes it lose the focus, which calls this again
      over = true;
      const text = box.value.trim();
      box.replaceWith(title);
      if (keep && text && text !== title.textContent) send("chat", "rename", { value: button.dataset.value, text });
    };
    box.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter") done(true);
      if (event.key === "Escape") done(false);
      event.stopPropagation();
    });
    box.addEventListener("blur", () => done(true));
  }

  // Enter that confirms an input method's candidate is not the Enter that sends.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) event.stopPropagation();
    if (event.key === "Enter" && !event.isComposing && event.target.matches("#concept-search")) openFound(event.target.value);
    if (event.key === "Escape" && $("#side.reading") && !event.target.matches("textarea, input")) closeReader();
  }, true);

  document.addEventListener("input", (event) => {
    if (event.target.matches("#concept-search")) filterConcepts(event.target.value);
    else if (event.target.matches("[data-filter]")) filterRows(event.target);
  });

  document.addEventListener("submit", (event) => {
    if (event.target.matches("form.path")) {
      event.preventDefault();
      findPath(event.target);
    }
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("#concept-index select")) openConcept(event.target.value);
  });

  // --- connecting to Gradio ---------------------------------------------------------------------------------------
  const mianpu = (window.mianpu = {
    language,
    openConcept,
    mended,
    connect(name, trigger) { // the names of the events a view listens to follow, for Gradio to find
      buses[name] = trigger;
      if (name === "ready") {
        document.documentElement.classList.add("ready");
        follow();
      }
    },
    // A new question goes to the top and stays there while its answer grows below it: what is being read never moves. The room for
    // that is made once, so that nothing gives way when the answer ends.
    grow(element) {
      const box = $("#conversation");
      const stage = $(".turn", element)?.dataset.stage || "";
      const running = (name) => ["searching", "reading", "waiting", "writing"].includes(name);
      const fresh = running(stage) && !running(element.dataset.stage);
      element.dataset.stage = stage;
      if (!stage) element.style.minHeight = "";
      if (fresh) {
        const inside = getComputedStyle(box).overflowY !== "visible";
        const room = inside ? box.clientHeight - 40 : innerHeight - $("#composer").offsetHeight - 24;
        element.style.minHeight = $("#past .turn") ? `${room}px` : "";
        requestAnimationFrame(() => toTop(element));
      }
      noteEnd();
    },
    // A chat from the list begins at its last question.
    opened(element) {
      if ($("#live .turn")) return;
      requestAnimationFrame(() => requestAnimationFrame(() => {
        const last = $(".turn:last-child", element);
        if (last && !$("#live .turn")) toTop(last);
        noteEnd();
      }));
    },
  });
  function toTop(element) {
    const box = $("#conversation");
    if (getComputedStyle(box).overflowY === "visible") element.scrollIntoView({ block: "start" });
    else box.scrollTop += element.getBoundingClientRect().top - box.getBoundingClientRect().top - 20;
  }

  // The way down is offered while the end of the last answer is out of sight.
  let noting = false;
  function noteEnd() {
    if (noting) return;
    noting = true;
    requestAnimationFrame(() => {
      noting = false;
      const [box, talk] = [$("#conversation"), $("#talk")];
      const last = $("#live .turn") || $("#past .turn:last-child");
      const below = box && last && last.getBoundingClientRect().bottom > box.getBoundingClientRect().bottom + 48;
      talk?.classList.toggle("more-below", Boolean(below));
    });
  }
  document.addEventListener("scroll", (event) => event.target.id === "conversation" && noteEnd(), true);
  addEventListener("resize", noteEnd);
  addEventListener("popstate", follow);

  const dialog = document.createElement("dialog");
  dialog.id = "reader-dialog";
  dialog.append(Object.assign(document.createElement("div"), { className: "reader-body" }));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) closeReader();
  });
  addEventListener("DOMContentLoaded", () => document.body.append(dialog));
})();
