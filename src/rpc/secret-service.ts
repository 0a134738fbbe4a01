/** SecretService: values go in and never come out. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  DeleteSecretResponseSchema,
  ListSecretsResponseSchema,
  RotateSecretResponseSchema,
  type SecretService,
  SetSecretResponseSchema,
} from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { AppError } from "../base/errors.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { secretFilterOf } from "./wire/list-filters.ts";
import { secretToMessage } from "./wire/secret.ts";
import { msOfDuration } from "./wire/time.ts";

const keepMsDefault = 86_400_000;

export function secretRpcs(parts: Pick<RpcParts, "secrets" | "pageTokenKey">): ServiceImpl<typeof SecretService> {
  const { secrets } = parts;
  return {
    async setSecret({ name, value, description, etag, validateOnly }, context) {
      const secret = await secrets.set(callerOf(context), name, { value, description, etag, validateOnly });
      return create(SetSecretResponseSchema, { secret: secretToMessage(secret) });
    },

    async rotateSecret({ name, value, keepPrevious, etag, validateOnly }, context) {
      const keepMs = msOfDuration(keepPrevious) ?? keepMsDefault;
      const secret = await secrets.rotate(callerOf(context), name, { value, keepMs, etag, validateOnly });
      if (!secret) throw secretNotFound(name);
      return create(RotateSecretResponseSchema, { secret: secretToMessage(secret) });
    },

    async listSecrets({ pageSize, pageToken, filter }, context) {
      const caller = callerOf(context);
      const { name } = secretFilterOf(filter);
      const { items, nextPageToken } = await listPage(parts, caller, "ListSecrets", { pageSize, pageToken, shape: [filter] }, (page) =>
        secrets.list(caller, { ...page, name }),
      );
      return create(ListSecretsResponseSchema, { secrets: items.map(secretToMessage), nextPageToken });
    },

    async deleteSecret({ name, etag, validateOnly }, context) {
      const secret = await secrets.remove(callerOf(context), name, { etag, validateOnly });
      if (!secret) throw secretNotFound(name);
      return create(DeleteSecretResponseSchema, { secret: secretToMessage(secret) });
    },
  };
}

function secretNotFound(name: string): AppError {
  return new AppError("SECRET_NOT_FOUND", `secret ${name} does not exist`, { metadata: { secret: name } });
}
