import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { settings } from "../../src/config.ts";

const read = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");
const firstColumn = (markdown: string): string[] => [...markdown.matchAll(/^\| `?([^`|]+?)`? \|/gm)].map((row) => row[1] as string).slice(1);

describe("the lists in docs/", () => {
  it("docs/configuration.md has every setting with the words of the code, and no other", () => {
    const rows = [...read("docs/configuration.md").matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map((row) => [row[1], row[2]]);
    expect(rows).toEqual(Object.entries(settings).map(([name, { describe }]) => [name, describe]));
  });

  it("docs/dependencies.md gives a reason for every package, and for no other", () => {
    const manifest = JSON.parse(read("package.json")) as Record<"dependencies" | "devDependencies", Record<string, string>>;
    const listed = firstColumn(read("docs/dependencies.md")).filter((name) => !name.endsWith("*") && !name.startsWith("-"));
    expect(listed.sort()).toEqual([...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)].sort());
  });

  it("every version is exact", () => {
    const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
    for (const group of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[group] ?? {})) expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
    }
  });

  it("README stays within 200 lines and names only files that exist", () => {
    const readme = read("README.md");
    expect(readme.split("\n").length).toBeLessThanOrEqual(201);
    for (const [, target] of readme.matchAll(/\]\(([^)#]+)\)/g)) if (target && !target.startsWith("http")) expect(() => read(target), target).not.toThrow();
  });
});
