/** A receiver of webhooks: keeps every message once by its webhook-id and shows them at GET /messages. */
import { serve } from "./serve.ts";

const messages: unknown[] = [];

await serve({
  get: ([collection]) => (collection === "messages" ? { status: 200, body: messages } : undefined),
  act: ({ method, body }) =>
    method === "POST"
      ? () => {
          messages.push(body);
          return { status: 202, body: { accepted: true } };
        }
      : undefined,
});
