// A link from another site comes without the cookie, which is for this site's own pages: whoever is signed in all the same goes on to the page.
const answer = await fetch("/console/session", { credentials: "same-origin", cache: "no-store" });
if (answer.status === 204 && !location.pathname.startsWith("/console/sign-in")) location.replace(location.href);
