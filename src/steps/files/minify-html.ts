/** HTML with one blank for a run of them. Comments go, except those that old browsers obey; elements where blanks count are kept as they are. */

const parts = /<(?<kept>pre|textarea|script|style)\b|<!--|<[^<>]*>|\s+/gi;

/** Each end is looked for once: a text of beginnings that never end costs no more than another. */
export function minifyHtml(text: string): string {
  const ends = new Map<string, boolean>();
  /** The end of what begins at `from`, or -1: nothing like it ends from here on. */
  const endOf = (pattern: RegExp, from: number): number => {
    if (ends.get(pattern.source) === false) return -1;
    pattern.lastIndex = from;
    const found = pattern.exec(text);
    ends.set(pattern.source, found !== null);
    return found ? pattern.lastIndex : -1;
  };
  const output: string[] = [];
  let at = 0;
  parts.lastIndex = 0;
  for (let part = parts.exec(text); part; part = parts.exec(text)) {
    const [found] = part;
    const kept = part.groups?.["kept"]?.toLowerCase();
    output.push(text.slice(at, part.index));
    at = part.index + found.length;
    if (kept !== undefined || found === "<!--") {
      const end = endOf(kept === undefined ? /-->/g : new RegExp(`</${kept}\\s*>`, "gi"), at);
      if (end < 0) output.push(found);
      else {
        if (kept !== undefined || text.startsWith("<!--[", part.index)) output.push(text.slice(part.index, end));
        at = end;
      }
    } else if (found.startsWith("<")) output.push(found);
    else output.push(found.includes("\n") ? "\n" : " ");
    parts.lastIndex = at;
  }
  output.push(text.slice(at));
  return output.join("");
}
