/** The commands of docs/tenants.md are true: they are run as they stand there. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { connect } from "../service/support/connect-client.ts";
import { useServer } from "../service/support/fixture.ts";

const service = useServer();

it("make a tenant, bound it, suspend it and let it in again", async () => {
  const text = readFileSync(new URL("../../docs/tenants.md", import.meta.url), "utf8");
  const script = /```bash example\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
  const env = { PATH: process.env["PATH"] ?? "", PAWF_API_KEY: service.server.apiKey, PAWF_URL: service.server.url };
  // Each answer on a line of its own.
  const { stdout } = await promisify(execFile)("bash", ["-ec", script.replaceAll("curl -s", "curl -s -w '\\n'")], { env });
  const [made, bounded, suspended, again, listed] = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(made).toMatchObject({ tenant: { id: "acme", displayName: "Acme Ltd", weight: 2 }, apiKey: { name: "Ada" } });
  expect(bounded).toMatchObject({ tenant: { weight: 2, quotas: { files: 100, fileBytes: "1073741824" } } });
  expect(suspended.tenant.suspended).toBe(true);
  expect(again.tenant.suspended ?? false).toBe(false);
  expect(listed.tenants.map(({ id }: { id: string }) => id)).toEqual(["acme", "default"]);
  const { workflows } = connect({ url: service.server.url, apiKey: made.secret });
  expect((await workflows.listWorkflows({})).workflows).toEqual([]);
});
