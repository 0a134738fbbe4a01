const charactersMax = 200;

/** How messages and logs name the target of a request: by what it says itself, else by origin and path. */
export function targetOf({ url, shownAs }: { readonly url: string; readonly shownAs?: string | undefined }): string {
  return shownAs ?? describeTarget(url);
}

/** A URL as messages and logs may show it: origin and path. User, password, query and fragment may hold secrets. */
export function describeTarget(url: string): string {
  if (!URL.canParse(url)) return "(not a URL)";
  const { protocol, host, pathname } = new URL(url);
  const text = `${protocol}//${host}${pathname}`;
  return text.length > charactersMax ? `${text.slice(0, charactersMax)}…` : text;
}

/** Host and port of a call as breakers and limits know them, `https://host:443`; undefined when the text is no URL. */
export function destinationOf(url: string | undefined): string | undefined {
  if (url === undefined || !URL.canParse(url)) return undefined;
  const { protocol, hostname, port } = new URL(url);
  return `${protocol}//${hostname}:${port === "" ? (protocol === "https:" ? 443 : 80) : port}`;
}
