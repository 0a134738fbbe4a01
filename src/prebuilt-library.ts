/** The prebuilt templates, data that ships with this code. */
import { readdir, readFile } from "node:fs/promises";
import type { Json } from "./base/json.ts";
import { parseTemplateDocument } from "./domain/templates/parse-template-document.ts";
import type { BuiltInTemplate } from "./store/built-in-templates.ts";

/** The prebuilt library: data in `templates/`. Throws for a file that is not a template, since it ships with this code. */
export async function readBuiltIns(): Promise<BuiltInTemplate[]> {
  const folder = new URL("../templates/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
  return await Promise.all(
    names.map(async (name) => {
      const parsed = parseTemplateDocument(JSON.parse(await readFile(new URL(name, folder), "utf8")) as Json);
      if (!parsed.ok) throw new Error(`templates/${name}: ${parsed.fault[0]?.field} ${parsed.fault[0]?.description}`);
      return parsed.value;
    }),
  );
}
