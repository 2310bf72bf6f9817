// The participant's texts: one file per language, with a version that goes on record with the consent.

export const LANGUAGES = ["en", "fr"];

/** The first of the wanted languages that there is a text in. */
export function choose(wanted) {
  const short = wanted.filter(Boolean).map((language) => language.slice(0, 2).toLowerCase());
  return short.find((language) => LANGUAGES.includes(language)) ?? LANGUAGES[0];
}

export async function load(language) {
  const response = await fetch(`/join/static/texts/${language}.json`);
  if (!response.ok) throw new Error(`texts: status ${response.status}`);
  return response.json();
}

/** `text` with its `{names}` replaced, and a capital at its beginning. */
export function fill(text, values) {
  const filled = text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  return filled.charAt(0).toUpperCase() + filled.slice(1);
}
