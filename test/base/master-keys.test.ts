/** Boxes open with their key and for what they belong to only; a ring wraps with its first key and opens with each. */
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { createMasterKeys } from "../../src/base/master-keys.ts";
import { newKey, seal, unseal } from "../../src/base/seal.ts";
import { readConfig } from "../../src/config.ts";
import { readMasterKeys } from "../../src/first-key.ts";
import { fc } from "../support/property.ts";

const dataDir = mkdtempSync(join(tmpdir(), "pawf-keys-"));
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

it("a box opens as what it was, and not with another key, for another row, or with any bit changed", () => {
  const key = newKey();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), fc.nat({ max: 7 }), (value, at, bit) => {
      const box = seal(key, value, ["secret", "acme", 1]);
      expect(unseal(key, box, ["secret", "acme", 1])).toEqual(Buffer.from(value));
      expect(unseal(newKey(), box, ["secret", "acme", 1])).toBeUndefined();
      for (const other of [["secret", "acme", 2], ["secret", "acm", "e1"], ["secret", "acme1"], []]) expect(unseal(key, box, other)).toBeUndefined();
      const changed = Buffer.from(box);
      changed[at % box.length] = (changed[at % box.length] as number) ^ (1 << bit);
      expect(unseal(key, changed, ["secret", "acme", 1])).toBeUndefined();
      expect(unseal(key, box.subarray(0, at % box.length), ["secret", "acme", 1])).toBeUndefined();
    }),
  );
});

it("two boxes of one value differ", () => {
  const key = newKey();
  expect(seal(key, Buffer.from("same"), []).equals(seal(key, Buffer.from("same"), []))).toBe(false);
});

it("a ring wraps with its first key and opens with each", async () => {
  const [first, second] = ["first master key", "second master key"] as const;
  const old = await createMasterKeys([first]);
  const both = await createMasterKeys([second, first, first]);
  const box = old.wrap(Buffer.from("data key"), ["a"]);
  expect(both.formerIds).toEqual([old.currentId]);
  expect(both.unwrap(box, ["a"])?.toString()).toBe("data key");
  expect(both.unwrap(box, ["b"])).toBeUndefined();
  expect((await createMasterKeys([second])).unwrap(box, ["a"])).toBeUndefined();
  expect(JSON.stringify(box)).not.toContain(first);
});

const configOf = (environment: Record<string, string>) => readConfig({ PAWF_DATA_DIR: dataDir, ...environment }, false);

it("the ring is read from the environment; a key may hold a comma", async () => {
  const ring = "0123456789abcdef, another key of mine,short";
  const config = configOf({ DATABASE_URL: "postgres://x@h/d", PAWF_MASTER_KEY: "current master key", PAWF_MASTER_KEY_RING: ring });
  expect(await readMasterKeys(config, false)).toEqual(["current master key", "0123456789abcdef", "another key of mine", ring]);
  expect(() => configOf({ PAWF_MASTER_KEY_RING: "short" })).toThrow(/PAWF_MASTER_KEY_RING/);
  await expect(readMasterKeys(configOf({ DATABASE_URL: "postgres://x@h/d" }), false)).rejects.toThrow(/Set PAWF_MASTER_KEY/);
});

it("an embedded server makes its own key once, and keeps it in the ring when another one is configured", async () => {
  const [own] = await readMasterKeys(configOf({}), true);
  expect(await readMasterKeys(configOf({}), true)).toEqual([own]);
  expect((await readFile(join(dataDir, "master.key"), "utf8")).trim()).toBe(own);
  expect(await readMasterKeys(configOf({ PAWF_MASTER_KEY: "a configured master key" }), true)).toEqual(["a configured master key", own]);
});
