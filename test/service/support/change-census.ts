/** What a change left behind, counted in the database. */
import type { Client } from "pg";
import type { Clients } from "./connect-client.ts";

/** How many rows and events of every kind there are that a case may add. */
export async function census(client: Client): Promise<Record<string, number>> {
  const counted = [
    ...["workflows", "workflow_revisions", "workflow_templates", "workflow_template_versions", "workflow_executions"],
    ...["secrets", "secret_versions", "files", "file_chunks", "signals", "api_keys", "tenants"],
  ];
  const tables = counted.map((table) => `select '${table}' as name, count(*)::int as count from ${table}`);
  const types = ["execution_paused", "execution_resumed", "execution_cancel_requested", "execution_ended", "execution_reopened"];
  const events = [...types, "operator_acted", "variables_set", "step_enlisted"].map(
    (type) => `select '${type}', count(*)::int from execution_events where type = '${type}'`,
  );
  const { rows } = await client.query<{ name: string; count: number }>([...tables, ...events].join(" union all "));
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
}

/** What was added since, by name; nothing where the numbers are equal. */
export function added(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const pairs = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(pairs.filter(([, count]) => count !== 0));
}

/** The client of a service, by the name that `changeCases` gives it. */
export function clientOf(clients: Clients, service: string) {
  const byService = {
    WorkflowService: clients.workflows,
    TemplateService: clients.templates,
    SagaCoordinationService: clients.sagas,
    SecretService: clients.secrets,
    FileService: clients.files,
    AccessService: clients.access,
  };
  return byService[service as keyof typeof byService] as unknown as Record<
    string,
    (request: object, options?: { readonly onHeader?: (headers: Headers) => void }) => Promise<object>
  >;
}
