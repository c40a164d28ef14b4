// Loaded before the page is drawn: the theme that was chosen, so that nothing flashes.
try {
  const theme = localStorage.getItem("keel-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing has the theme of its system.
}
