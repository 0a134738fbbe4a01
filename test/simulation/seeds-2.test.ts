import { it } from "vitest";
import { expectWhole, range } from "./seeds.ts";

it("1,000 more seeds hold", async () => {
  await expectWhole(range(1_001, 1_000));
}, 120_000);
