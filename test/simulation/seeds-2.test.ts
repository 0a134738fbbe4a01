import { it } from "vitest";
import { expectWhole, range } from "./seeds.ts";

it("500 more worlds with events, children, tasks and sagas hold", async () => {
  await expectWhole(range(501, 500), "outside");
});
