// Signs in without leaving the page, so that a wrong token is told in words. Without this script the form is posted as it is.

const form = document.getElementById("form");
const error = document.getElementById("error");
const token = document.getElementById("token");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.textContent = "";
  try {
    const response = await fetch("/login", { method: "POST", body: new URLSearchParams({ token: token.value.trim() }) });
    if (response.ok) return location.assign("/");
    if (response.status === 429) error.textContent = "Too many attempts. Wait a minute, then try again.";
    else if (response.status >= 500) error.textContent = "The service has a problem right now.";
    else error.textContent = "This token is not known, or it has expired.";
  } catch {
    error.textContent = "The service cannot be reached.";
  }
  token.select();
});
