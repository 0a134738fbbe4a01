const charactersMax = 200;

/** A URL as messages and logs may show it: origin and path. User, password, query and fragment may hold secrets. */
export function describeTarget(url: string): string {
  if (!URL.canParse(url)) return "(not a URL)";
  const { protocol, host, pathname } = new URL(url);
  const text = `${protocol}//${host}${pathname}`;
  return text.length > charactersMax ? `${text.slice(0, charactersMax)}…` : text;
}
