/** The eight operations of templates as plain JSON over HTTP. */
import { expect, test } from "vitest";
import { logStep } from "./support/definitions.ts";
import { useServer } from "./support/fixture.ts";

const fixture = useServer();

async function send(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${fixture.server.url}/api/v1/templates${path}`, {
    method,
    headers: { authorization: `Bearer ${fixture.server.apiKey}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test("templates are created, read, listed, changed, replaced, used, measured and deleted", async () => {
  const parameters = { type: "object", properties: { who: { type: "string" } }, required: ["who"] };
  const made = await send("POST", "", {
    name: "rest",
    category: "automation",
    description: "words",
    parameters_schema: parameters,
    template_config: { steps: [logStep("hello", "hello {{params.who}}")] },
  });
  expect(made).toMatchObject({ status: 200, body: { template: { name: "rest", latest_version: 1 } } });
  expect(await send("GET", "/rest")).toMatchObject({ status: 200, body: { template: { definition: { steps: [{ name: "hello" }] } } } });
  expect(await send("GET", "?filter=category%20%3D%20automation%20AND%20built_in%20%3D%20false&page_size=5")).toMatchObject({
    body: { templates: [{ name: "rest" }] },
  });
  expect(await send("PATCH", "/rest", { display_name: "Rest" })).toMatchObject({
    body: { template: { display_name: "Rest", description: "words", latest_version: 1 } },
  });
  expect(await send("POST", "/create-workflow", { template: "rest", name: "from-rest", parameters: { who: "Ada" } })).toMatchObject({
    status: 200,
    body: { workflow: { name: "from-rest", definition: { steps: [{ log: { message: "hello Ada" } }] } } },
  });
  expect(await send("POST", "/create-workflow", { template: "rest", name: "refused", parameters: {} })).toMatchObject({
    status: 400,
    body: { code: "invalid_argument" },
  });
  const replaced = await send("PUT", "/rest", { name: "rest", definition: { steps: [logStep("bye")] } });
  expect(replaced).toMatchObject({ status: 200, body: { template: { latest_version: 2, definition: { steps: [{ name: "bye" }] } } } });
  expect((replaced.body["template"] as object | undefined) ?? {}).not.toHaveProperty("description");
  expect(await send("GET", "/categories")).toMatchObject({ body: { categories: expect.arrayContaining([{ category: "sync", template_count: 2 }]) } });
  expect(await send("GET", "/rest/usage-stats")).toMatchObject({ status: 200, body: { total: { workflow_count: "1" } } });
  expect(await send("DELETE", "/rest")).toMatchObject({ status: 200, body: { template: { state: "TEMPLATE_STATE_DELETED" } } });
  expect(await send("GET", "/rest")).toMatchObject({ status: 404, body: { code: "not_found" } });
});
