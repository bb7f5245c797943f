// Before the first paint: the reader's own choice of theme, else what the system says.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("floe-theme"); } catch { /* a page opened from disk may have no storage */ }
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const apply = () => {
    root.dataset.theme = chosen || (system.matches ? "dark" : "light");
    document.dispatchEvent(new Event("floe-theme"));
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("floe-theme", chosen); } catch { /* then it holds for this page only */ }
      apply();
    });
  });
})();
