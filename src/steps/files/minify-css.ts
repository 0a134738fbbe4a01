/** A style sheet without comments and blanks. CSS has no mark of its own: a text is taken for it when all of it reads as rules and declarations. */

const tokens =
  /(?<comment>\/\*[\s\S]*?\*\/)|(?<string>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'|url\(\s*[^"'()\s\\]*\s*\))|(?<space>\s+)|(?<end>[{};])|(?<bracket>[()[\]])|(?<other>(?:(?!url\(\s*[^"'\s])[^\s{}()[\];"'/]|\/(?!\*))+)/giy;
const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]" };

/** The style sheet with everything that needs no byte left out, or undefined when the text is none. `/*!` comments (licences) stay. */
export function minifyCss(text: string): string | undefined {
  const output: string[] = [];
  /** Of the rule or declaration that is being read. */
  let segment = "";
  const brackets: string[] = [];
  let depth = 0;
  let hasRules = false;
  tokens.lastIndex = 0;
  while (tokens.lastIndex < text.length) {
    const groups = tokens.exec(text)?.groups;
    if (!groups) return undefined;
    const { comment, space, end, bracket, string, other } = groups;
    if (comment !== undefined) segment += comment.startsWith("/*!") ? comment : "/**/";
    else if (space !== undefined) segment += " ";
    else if (bracket !== undefined) {
      if (closing[bracket] !== undefined) brackets.push(closing[bracket]);
      else if (brackets.pop() !== bracket) return undefined;
      segment += bracket;
    } else if (end === undefined) segment += string ?? other ?? "";
    else {
      if (brackets.length > 0) return undefined;
      const written = end === "{" ? prelude(segment) : statement(segment, depth);
      if (written === undefined || (end === "{" && written === "")) return undefined;
      segment = "";
      if (end === "}" && written === "" && output.at(-1) === ";") output.pop();
      if (written !== "") output.push(written);
      if (end === "{") {
        hasRules = true;
        depth++;
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

function prelude(segment: string): string {
  return squeezed(segment);
}

/** A declaration (inside of a rule), an at-rule without a block, or nothing; undefined for what CSS does not know. */
function statement(segment: string, depth: number): string | undefined {
  const text = squeezed(segment);
  const bare = text.replace(/\/\*![\s\S]*?\*\//g, "");
  if (bare === "" || bare.startsWith("@")) return text;
  const declaration = /^([\s\S]*?[\w-]) ?:([\s\S]*)$/.exec(text);
  if (depth === 0 || !declaration || !/^(?:[*_]?[a-z-][\w-]*|--[^\s:]+)$/i.test((declaration[1] ?? "").replace(/\/\*![\s\S]*?\*\//g, ""))) return undefined;
  const value = (declaration[2] ?? "").trim();
  // An empty custom property is one blank; one of another kind does not exist.
  if (value === "") return declaration[1]?.startsWith("--") ? `${declaration[1]}: ` : undefined;
  return `${declaration[1]}:${value}`;
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
