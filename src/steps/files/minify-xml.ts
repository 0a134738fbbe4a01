/** XML without comments and indentation. Blanks that could be content stay: beside text, without a line break, or where `xml:space` keeps them. */
import { ok, type Result } from "../../base/result.ts";
import type { Failure } from "../../domain/failure.ts";
import { readXml } from "./xml-text.ts";

const parts = /<!\[CDATA\[[\s\S]*?\]\]>|<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<(?:[^<>"']|"[^"]*"|'[^']*')*>|[^<]+/g;
/** In documents of these kinds an element may stand in a line of text: blanks between two of them are seen. */
const flowing = /^<(?:\w+:)?(?:html|svg)\b/i;

interface Open {
  readonly keepsBlanks: boolean;
  /** Places in the output of blanks that go if nothing but elements stands beside them. */
  readonly blanks: number[];
  hasText: boolean;
  hasElements: boolean;
}

/** SCHEMA for what is not well formed or declares a document type. */
export function minifyXml(text: string): Result<string, Failure> {
  const read = readXml(text);
  if (!read.ok) return read;
  const output: string[] = [];
  const open = (keepsBlanks: boolean): Open => ({ keepsBlanks, blanks: [], hasText: false, hasElements: false });
  const stack: Open[] = [open(false)];
  const close = ({ keepsBlanks, hasText, hasElements, blanks }: Open): void => {
    if (hasElements && !hasText && !keepsBlanks) for (const at of blanks) output[at] = "";
  };
  for (const [part] of text.matchAll(parts)) {
    const here = stack.at(-1) as Open;
    if (part.startsWith("<!--")) continue;
    if (part.startsWith("<![CDATA[")) here.hasText = true;
    else if (part.startsWith("</")) close(stack.pop() as Open);
    else if (part.startsWith("<") && !part.startsWith("<?")) {
      here.hasElements = true;
      const space = /\sxml:space\s*=\s*["'](\w+)/.exec(part)?.[1];
      const keepsBlanks = space === undefined ? here.keepsBlanks || flowing.test(part) : space === "preserve";
      if (!part.endsWith("/>")) stack.push(open(keepsBlanks));
    } else if (!part.startsWith("<?")) {
      if (part.trim() === "" && part.includes("\n")) here.blanks.push(output.length);
      else here.hasText = true;
    }
    output.push(part.startsWith("<") && !/^<[!?]/.test(part) ? withoutBlanks(part) : part);
  }
  for (const here of stack.reverse()) close(here);
  return ok(`${output.join("").trim()}\n`);
}

/** A tag with one blank between its attributes. */
function withoutBlanks(tag: string): string {
  return tag.replace(/("[^"]*"|'[^']*')|\s+(?=\/?>)|\s+/g, (blanks, quoted: string | undefined, at: number) => {
    if (quoted !== undefined) return quoted;
    return /^\/?>/.test(tag.slice(at + blanks.length, at + blanks.length + 2)) ? "" : " ";
  });
}
