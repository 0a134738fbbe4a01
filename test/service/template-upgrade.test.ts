/** Workflows made from a template are brought to its newer versions over the wire. */
import { beforeAll, describe, expect, it } from "vitest";
import { createWorkflow, definition, logStep, newName } from "./support/definitions.ts";
import { seconds, useServer } from "./support/fixture.ts";
import { refusal, refusalOfStatus } from "./support/refusal.ts";

const fixture = useServer();
const templates = () => fixture.clients.templates;
const workflows = () => fixture.clients.workflows;
const greeting = (message: string, ...more: ReturnType<typeof logStep>[]) => definition([logStep("greet", message), ...more]);
const parametersSchema = { type: "object", properties: { who: { type: "string" } }, required: ["who"] };

let template: string;
beforeAll(async () => {
  template = newName("greeting");
  await templates().createTemplate({
    template: { name: template, displayName: "Greeting", category: "automation", parametersSchema, definition: greeting("hello {{params.who}}") },
  });
});

async function made(who: string): Promise<string> {
  const name = newName("greeter");
  await templates().createWorkflowFromTemplate({ template, name, version: 1, parameters: { who } });
  return name;
}

const publish = (message: string, ...more: ReturnType<typeof logStep>[]) =>
  templates().updateTemplate({ template, changes: { definition: greeting(message, ...more) } });

describe("UpgradeWorkflows", () => {
  it("brings each workflow to the new version as its next revision, leaves conflicts, and changes nothing when repeated", async () => {
    const [plain, changed, inConflict] = [await made("Ada"), await made("Bob"), await made("Cleo")];
    const foreign = await createWorkflow(fixture.clients, [logStep("a")]);
    await workflows().updateWorkflow({ workflow: changed, changes: { definition: greeting("hello Bob", logStep("mine")) } });
    await workflows().updateWorkflow({ workflow: inConflict, changes: { definition: greeting("hi Cleo") } });
    await publish("good day {{params.who}}", logStep("more"));

    const asked = [plain, changed, inConflict, foreign, "nobody"];
    const { upgrades: preview } = await templates().previewTemplateUpgrade({ template, workflows: asked });
    expect(
      preview.map(({ workflowName, fromVersion, toVersion, conflicts, revision }) => [workflowName, fromVersion, toVersion, conflicts.length, revision]),
    ).toEqual([
      [plain, 1, 2, 0, 0],
      [changed, 1, 2, 0, 0],
      [inConflict, 1, 2, 1, 0],
      [foreign, 0, 2, 0, 0],
      ["", 0, 2, 0, 0],
    ]);
    expect(preview[2]?.conflicts[0]).toMatchObject({
      path: "steps[greet].log.message",
      base: { kind: { value: "hello Cleo" } },
      templateValue: { kind: { value: "good day Cleo" } },
      workflowValue: { kind: { value: "hi Cleo" } },
    });
    expect(preview[1]?.result?.steps.map(({ name }) => name)).toEqual(["greet", "mine", "more"]);
    expect(preview.slice(3).map(({ error }) => error && refusalOfStatus(error).reason)).toEqual(["WORKFLOW_NOT_DERIVED", "WORKFLOW_NOT_FOUND"]);
    expect((await workflows().getWorkflow({ workflow: plain })).workflow).toMatchObject({ latestRevision: 1 });

    const { upgrades } = await templates().upgradeWorkflows({ template, workflows: asked });
    expect(upgrades.map(({ revision, error }) => [revision, error ? refusalOfStatus(error).reason : ""])).toEqual([
      [2, ""],
      [3, ""],
      [0, "UPGRADE_CONFLICT"],
      [0, "WORKFLOW_NOT_DERIVED"],
      [0, "WORKFLOW_NOT_FOUND"],
    ]);
    const { workflow } = await workflows().getWorkflow({ workflow: plain });
    expect(workflow).toMatchObject({ activeRevision: 2, lineage: { templateVersion: 2, parameters: { who: "Ada" } } });
    const anew = newName("anew");
    await templates().createWorkflowFromTemplate({ template, name: anew, version: 2, parameters: { who: "Ada" } });
    expect(workflow?.definition).toEqual((await workflows().getWorkflow({ workflow: anew })).workflow?.definition);
    expect((await workflows().startExecution({ workflow: changed, wait: seconds(50) })).execution).toMatchObject({ revision: 3 });

    const repeated = await templates().upgradeWorkflows({ template, workflows: [plain, changed] });
    expect(repeated.upgrades.map(({ revision, error }) => [revision, error])).toEqual([
      [0, undefined],
      [0, undefined],
    ]);
    expect((await workflows().getWorkflow({ workflow: changed })).workflow).toMatchObject({ latestRevision: 3 });

    await workflows().updateWorkflow({ workflow: inConflict, changes: { definition: greeting("good day Cleo") } });
    expect((await templates().upgradeWorkflows({ template, workflows: [inConflict] })).upgrades[0]).toMatchObject({ revision: 4 });
  });

  it("previews all workflows of a template page by page, and makes drafts or nothing when asked", async () => {
    const names = await Promise.all(["1", "2", "3"].map(made));
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await templates().previewTemplateUpgrade({ template, toVersion: 2, pageSize: 2, pageToken });
      expect(page.upgrades.length).toBeLessThanOrEqual(2);
      seen.push(...page.upgrades.map(({ workflowName }) => workflowName));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen.filter((name) => names.includes(name)).sort()).toEqual([...names].sort());
    expect(new Set(seen).size).toBe(seen.length);
    const [first, second] = names as [string, string];
    expect((await templates().upgradeWorkflows({ template, workflows: [first], validateOnly: true })).upgrades[0]).toMatchObject({
      revision: 0,
      fromVersion: 1,
      toVersion: 2,
    });
    expect((await workflows().getWorkflow({ workflow: first })).workflow).toMatchObject({ latestRevision: 1 });
    expect((await templates().upgradeWorkflows({ template, workflows: [second], draftOnly: true })).upgrades[0]).toMatchObject({ revision: 2 });
    expect((await workflows().getWorkflow({ workflow: second })).workflow).toMatchObject({ activeRevision: 1, latestRevision: 2 });
  });

  it("names parameters that the new version needs, and takes their values", async () => {
    const workflow = await made("Dora");
    const needs = { ...parametersSchema, properties: { ...parametersSchema.properties, town: { type: "string" } }, required: ["who", "town"] };
    await templates().updateTemplate({ template, changes: { parametersSchema: needs, definition: greeting("{{params.who}} of {{params.town}}") } });
    const missing = await templates().previewTemplateUpgrade({ template, workflows: [workflow] });
    expect(missing.upgrades[0]).toMatchObject({ missingParameters: ["town"] });
    const refused = (await templates().upgradeWorkflows({ template, workflows: [workflow] })).upgrades[0];
    expect(refused?.error && refusalOfStatus(refused.error)).toMatchObject({ reason: "PARAMETERS_INVALID", fields: ["parameters.town"] });
    const { upgrades } = await templates().upgradeWorkflows({ template, workflows: [workflow], parameters: { town: "Rome" } });
    expect(upgrades[0]).toMatchObject({ revision: 2 });
    expect((await workflows().getWorkflow({ workflow })).workflow).toMatchObject({
      lineage: { templateVersion: 3, parameters: { who: "Dora", town: "Rome" } },
    });
  });

  it("refuses templates and versions that do not exist", async () => {
    expect(await refusal(templates().previewTemplateUpgrade({ template: "nobody" }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
    expect(await refusal(templates().upgradeWorkflows({ template, toVersion: 99, workflows: ["x"] }))).toMatchObject({ reason: "TEMPLATE_VERSION_NOT_FOUND" });
  });
});
