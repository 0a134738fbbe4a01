/** Whether the server keeps what it acknowledges. One that does not would lose committed steps in a power cut. */
import type { Pool } from "pg";
import { guarded } from "./database-error.ts";

const needed: ReadonlyMap<string, { readonly safe: ReadonlySet<string>; readonly risk: string }> = new Map([
  ["fsync", { safe: new Set(["on"]), risk: "acknowledged work is lost when the machine stops" }],
  // "local" and the remote modes all wait for the local disk; "off" answers before it.
  [
    "synchronous_commit",
    { safe: new Set(["on", "local", "remote_write", "remote_apply"]), risk: "the newest acknowledged work is lost when the server crashes" },
  ],
  ["full_page_writes", { safe: new Set(["on"]), risk: "a page torn by a power cut cannot be repaired" }],
]);

/** What is wrong with the server's settings, a sentence each; empty when acknowledged work is safe. */
export async function checkDurability(pool: Pool): Promise<string[]> {
  const { rows } = await guarded(() =>
    pool.query<{ name: string; setting: string }>("select name, setting from pg_settings where name = any($1)", [[...needed.keys()]]),
  );
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]));
  return [...needed].flatMap(([name, { safe, risk }]) => {
    const setting = settings.get(name) ?? "unknown";
    return safe.has(setting) ? [] : [`${name} is ${setting}: ${risk}`];
  });
}
