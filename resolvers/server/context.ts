import DataLoader from 'dataloader';

import type { NotificationLog } from '../../src/delivery/logs.ts';
import type { Core } from '../../src/core.ts';
import { AppError } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import type { InboxNotification } from '../../src/inbox/notifications.ts';
import type { NotificationTemplate } from '../../src/templates/published.ts';
import type { TemplateVersion } from '../../src/templates/templates.ts';

/** Context of an operation. */
export interface GraphContext {
  core: Core;
  /** Undefined only for operations that need no token: see `permissions.ts`. */
  actor: Actor | undefined;
  /** Included in every error and log line of the operation. */
  traceId: string;
  /** Id of the subscription connection, if there is one. */
  clientId: string | undefined;
  /** Variables of a GET request. Apollo Server parses them itself and rounds their numbers. */
  variables?: Record<string, unknown>;
  loaders: Loaders;
}

/** Combines the look-ups of one operation, so that a list of references needs one statement. */
export interface Loaders {
  notification: DataLoader<string, InboxNotification | null>;
  notificationLog: DataLoader<string, NotificationLog | null>;
  notificationTemplate: DataLoader<string, NotificationTemplate | null>;
  templateVersions: DataLoader<string, TemplateVersion[]>;
}

export function createContext(core: Core, actor: Actor | undefined, traceId: string, clientId?: string): GraphContext {
  const { inbox, logs, templates } = core;
  const loader = <T>(find: (actor: Actor, ids: readonly string[]) => Promise<T[]>) =>
    new DataLoader<string, T>((ids) => find(signedIn({ actor }), ids), {
      maxBatchSize: 1_000,
      // No cache: the context of a subscription is long-lived, and its data would become outdated.
      cache: false,
    });
  return {
    core,
    actor,
    traceId,
    clientId,
    loaders: {
      notification: loader((who, ids) => inbox.findMany(who, ids)),
      notificationLog: loader((who, ids) => logs.findMany(who.tenantId, ids)),
      notificationTemplate: loader((who, ids) => templates.findMany(who.tenantId, ids)),
      templateVersions: loader((who, ids) => templates.versionsOf(who.tenantId, ids)),
    },
  };
}

/** Returns the caller. @throws `unauthenticated` when there is none. */
export function signedIn({ actor }: Pick<GraphContext, 'actor'>): Actor {
  if (!actor) throw new AppError('unauthenticated', 'A bearer token is required.');
  return actor;
}
