/** A style sheet without comments and blanks. CSS has no mark of its own: a text is taken for it when all of it reads as rules and declarations. */

const tokens =
  /(?<comment>\/\*[\s\S]*?\*\/)|(?<string>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'|url\(\s*(?:[^"'()\s\\]+\s*)?\))|(?<space>\s+)|(?<end>[{};])|(?<bracket>[()[\]])|(?<other>(?:(?!url\(\s*[^"'\s])[^\s{}()[\];"'/]|\/(?!\*))+)/giy;
/** No sheet that people write is nested deeper. */
const levelsMax = 32;
const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]" };

/** What is read of a rule or declaration: as it stands, with comments as marks, and without them and what strings hold. */
interface Segment {
  text: string;
  bare: string;
}

/** The style sheet with everything that needs no byte left out, or undefined when the text is none. `/*!` comments (licences) stay. */
export function minifyCss(text: string): string | undefined {
  const output: string[] = [];
  let segment: Segment = { text: "", bare: "" };
  const brackets: string[] = [];
  let depth = 0;
  let hasRules = false;
  tokens.lastIndex = 0;
  while (tokens.lastIndex < text.length) {
    const groups = tokens.exec(text)?.groups;
    if (!groups) return undefined;
    const { comment, space, end, bracket, string, other } = groups;
    if (comment !== undefined) segment.text += comment.startsWith("/*!") ? comment : "/**/";
    else if (end === undefined) {
      if (brackets.length > levelsMax) return undefined;
      if (bracket !== undefined && closing[bracket] !== undefined) brackets.push(closing[bracket]);
      else if (bracket !== undefined && brackets.pop() !== bracket) return undefined;
      segment.text += space === undefined ? (bracket ?? string ?? other ?? "") : " ";
      segment.bare += space === undefined ? (bracket ?? other ?? "_") : " ";
    } else {
      if (brackets.length > 0) return undefined;
      const written = end === "{" ? squeezed(segment.text) : statement(segment, depth);
      if (written === undefined || (end === "{" && written === "")) return undefined;
      segment = { text: "", bare: "" };
      if (end === "}" && written === "" && output.at(-1) === ";") output.pop();
      if (written !== "") output.push(written);
      if (end === "{") {
        hasRules = true;
        if (++depth > levelsMax) return undefined;
        output.push("{");
      } else if (end === "}") {
        if (--depth < 0) return undefined;
        output.push("}");
      } else if (written !== "") output.push(";");
    }
  }
  const rest = statement(segment, depth);
  if (rest === undefined || depth !== 0 || brackets.length > 0 || !hasRules) return undefined;
  return `${output.join("")}${rest}\n`;
}

/** A declaration (inside of a rule), an at-rule without a block, or nothing; undefined for what CSS does not know. */
function statement({ text, bare }: Segment, depth: number): string | undefined {
  const written = squeezed(text);
  if (bare.trim() === "" || /^\s*@/.test(bare)) return written;
  const colon = bare.indexOf(":");
  const name = bare.slice(0, Math.max(colon, 0)).trim();
  if (depth === 0 || !/^(?:[*_]?[a-z-][\w-]*|--\S+)$/i.test(name)) return undefined;
  // An empty custom property is one blank; an empty property of another kind does not exist.
  if (bare.slice(colon + 1).trim() === "") return name.startsWith("--") ? `${name}: ` : undefined;
  const at = written.indexOf(":", written.indexOf(name));
  return `${written.slice(0, at).trim()}:${written.slice(at + 1).trim()}`;
}

/** One blank where there were some, none around commas; comments between two names stay as `/**\/`, which keeps them apart. */
function squeezed(segment: string): string {
  return segment
    .replace(/("(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|\/\*![\s\S]*?\*\/)|(?:\s|\/\*\*\/)+/g, (run, kept: string | undefined, at: number) => {
      if (kept !== undefined) return kept;
      const [before, after] = [segment[at - 1] ?? "", segment[at + run.length] ?? ""];
      if (before === "," || after === ",") return "";
      if (run.includes(" ")) return " ";
      return /[\w-]/.test(before) && /[\w-]/.test(after) ? "/**/" : "";
    })
    .trim();
}
