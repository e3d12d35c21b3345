// What makes the status page handier. Everything works without it.
"use strict";

(() => {
  const REFRESH = 60_000;
  const TYPING = 250;
  const PARTS = ["#state", ".tiles", "#chosen", ".views", "#results"];
  const form = document.querySelector("form.filters");
  const search = document.getElementById("q");
  let latest = 0;

  // Dates are in UTC; the reader's own time is in the tip.
  function localTimes(root) {
    for (const one of root.querySelectorAll("time[datetime]")) {
      const when = new Date(one.dateTime);
      if (!Number.isNaN(when.getTime())) {
        one.title = when.toLocaleString();
      }
    }
  }

  // Shows another selection without leaving what the reader types in.
  async function show(where) {
    const number = ++latest;
    let text;
    try {
      const answer = await fetch(where, { headers: { Accept: "text/html" } });
      if (!answer.ok) {
        return;
      }
      text = await answer.text();
    } catch {
      // The server is away: what is shown stays.
      return;
    }
    if (number !== latest) {
      return;
    }
    const next = new DOMParser().parseFromString(text, "text/html");
    const shown = next.getElementById("shown")?.textContent ?? "";
    const status = document.getElementById("shown");
    if (status && status.textContent !== shown) {
      status.textContent = shown;
    }
    for (const selector of PARTS) {
      const old = document.querySelector(selector);
      const fresh = next.querySelector(selector);
      // What has the focus is left alone.
      if (old && fresh && !old.contains(document.activeElement)) {
        old.replaceWith(fresh);
      }
    }
    document.title = next.title;
    localTimes(document);
  }

  function address() {
    const query = new URLSearchParams(new FormData(form));
    for (const [name, value] of [...query]) {
      if (value === "") {
        query.delete(name);
      }
    }
    const text = query.toString();
    return text ? `?${text}` : form.getAttribute("action");
  }

  function apply() {
    const where = address();
    history.replaceState(null, "", where);
    void show(where);
  }

  localTimes(document);
  if (!form || !search) {
    return;
  }

  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, TYPING);
  });
  form.querySelector("select")?.addEventListener("change", apply);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    apply();
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });

  setInterval(() => {
    if (!document.hidden) {
      void show(location.href);
    }
  }, REFRESH);
})();
