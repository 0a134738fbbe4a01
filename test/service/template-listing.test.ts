/** Listings of templates: filters, orders, and pages that miss and repeat nothing while templates are created and deleted. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { TemplateSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { fc } from "../support/property.ts";
import { definition, logStep, newName } from "./support/definitions.ts";
import { seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();
const templates = () => fixture.clients.templates;

async function make(name: string, rest: object = {}): Promise<string> {
  const { template } = await templates().createTemplate({
    template: create(TemplateSchema, { name, category: "own", definition: definition([logStep("a")]), ...rest }),
  });
  return template?.id ?? "";
}

async function names(request: object): Promise<string[]> {
  return (await templates().listTemplates(request)).templates.map(({ name }) => name);
}

describe("a listing", () => {
  test("is filtered by every field it names", async () => {
    await make("alpha", { displayName: "Invoices to CRM", tags: ["crm", "billing"], labels: { team: "a" } });
    await make("beta", { description: "brings invoices home", tags: ["billing"], labels: { team: "b" } });
    await templates().createTemplate({ template: create(TemplateSchema, { name: "gamma", category: "else", definition: definition([]) }), draftOnly: true });
    const own = (filter: string) => names({ filter: `built_in = false AND (${filter})`, orderBy: "name" });
    expect(await own("category = own")).toEqual(["alpha", "beta"]);
    expect(await own("NOT category = own")).toEqual(["gamma"]);
    expect(await own("tags:billing tags:crm")).toEqual(["alpha"]);
    expect(await own("tags:billing NOT tags:crm")).toEqual(["beta"]);
    expect(await own("text:INVOICES")).toEqual(["alpha", "beta"]);
    expect(await own('text:"invoices to"')).toEqual(["alpha"]);
    expect(await own("state = DRAFT")).toEqual(["gamma"]);
    expect(await own("name = a* OR name = gamma")).toEqual(["alpha", "gamma"]);
    expect(await own("labels.team = b")).toEqual(["beta"]);
    expect(await own('create_time > "2020-01-01T00:00:00Z" update_time < "2020-01-01T00:00:00Z"')).toEqual([]);
    expect(await names({ filter: "built_in = true category = notification" })).toContain("failure-alert");
    expect(await refusal(templates().listTemplates({ filter: "colour = red" }))).toMatchObject({ reason: "FILTER_INVALID" });
    expect(await refusal(templates().listTemplates({ orderBy: "colour" }))).toMatchObject({ reason: "ORDER_BY_INVALID" });
  });

  test("counts, shows definitions in the full view, and tells categories and tags", async () => {
    await make("counted", { tags: ["only-here"] });
    const { templates: page, totalSize } = await templates().listTemplates({ filter: "tags:only-here", includeTotalSize: true, view: View.FULL });
    expect([totalSize, page.length, page[0]?.definition?.steps.length]).toEqual([1n, 1, 1]);
    const all = await templates().listTemplates({ includeTotalSize: true, pageSize: 2 });
    expect(Number(all.totalSize)).toBe((await names({ pageSize: 1000 })).length);
    const { categories, tags } = await templates().listTemplateCategories({});
    expect(categories.slice(0, 5).map(({ category }) => category)).toEqual(["integration", "file-processing", "sync", "automation", "notification"]);
    expect(tags.find(({ tag }) => tag === "only-here")?.templateCount).toBe(1);
  });

  test("is ordered by name, times, use and success, own and built-in ones together, and pages in that order", async () => {
    const { workflow } = await templates().createWorkflowFromTemplate({
      template: "http-poll-until",
      name: newName(),
      parameters: { url: "https://example.com/x" },
    });
    expect(workflow?.lineage?.templateVersion).toBe(1);
    await make("used");
    const { workflow: used } = await templates().createWorkflowFromTemplate({ template: "used", name: newName() });
    for (let n = 0; n < 2; n++) await fixture.clients.workflows.startExecution({ workflow: used?.id ?? "", wait: seconds(50) });
    for (const orderBy of [
      "name",
      "name desc",
      "update_time",
      "update_time desc",
      "create_time",
      "create_time desc",
      "usage_count desc",
      "success_rate desc",
      "usage_count",
    ]) {
      const whole = await names({ orderBy, pageSize: 1000 });
      const paged: string[] = [];
      for (let pageToken = ""; ; ) {
        const page = await templates().listTemplates({ orderBy, pageSize: 3, pageToken });
        paged.push(...page.templates.map(({ name }) => name));
        pageToken = page.nextPageToken;
        if (pageToken === "") break;
      }
      expect(paged, orderBy).toEqual(whole);
      if (orderBy === "name") expect(whole).toEqual([...whole].sort());
    }
    const token = (await templates().listTemplates({ pageSize: 1, orderBy: "name" })).nextPageToken;
    expect(await refusal(templates().listTemplates({ pageSize: 1, orderBy: "name desc", pageToken: token }))).toMatchObject({ reason: "PAGE_TOKEN_MISMATCH" });
  });

  test("neither skips nor repeats what was there all the time, whatever is created and deleted between its pages", async () => {
    const orders = fc.constantFrom("name", "name desc", "create_time", "create_time desc", "update_time", "update_time desc", "usage_count desc");
    const between = fc.array(fc.record({ letter: fc.constantFrom("a", "m", "z"), remove: fc.boolean() }), { minLength: 1, maxLength: 3 });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(orders, fc.integer({ min: 1, max: 4 }), between, async (orderBy, pageSize, changes) => {
        const mark = `r${++run}`;
        const stay = await Promise.all(["b", "f", "k", "p", "t", "x"].map((letter) => make(`${letter}-${mark}`, { tags: [mark] })));
        const passing: string[] = [];
        const seen: string[] = [];
        for (let pageToken = "", step = 0; ; step++) {
          const page = await templates().listTemplates({ orderBy, pageSize, pageToken, filter: `tags:${mark}` });
          seen.push(...page.templates.map(({ id }) => id));
          pageToken = page.nextPageToken;
          if (pageToken === "") break;
          // Whoever adds one behind the cursor for each page of one never comes to an end: the writers stop before the reader does.
          const change = step < 10 ? (changes[step % changes.length] as { letter: string; remove: boolean }) : undefined;
          if (change === undefined) continue;
          if (change.remove && passing.length > 0) await templates().deleteTemplate({ template: passing.pop() as string });
          else passing.push(await make(`${change.letter}${step}-${mark}`, { tags: [mark] }));
          if (step > 40) throw new Error("the pages do not end");
        }
        expect(seen.filter((id) => stay.includes(id)).sort()).toEqual([...stay].sort());
        expect(new Set(seen).size).toBe(seen.length);
      }),
      { numRuns: 12 },
    );
  });
});
