import DataLoader from 'dataloader';

import type { NotificationLog } from '../../src/delivery/logs.ts';
import type { Core } from '../../src/core.ts';
import { AppError } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import type { InboxNotification } from '../../src/inbox/notifications.ts';
import type { NotificationTemplate } from '../../src/templates/published.ts';
import type { TemplateVersion } from '../../src/templates/templates.ts';

/** What a resolver knows of the operation that it works for. */
export interface GraphContext {
  core: Core;
  /** Undefined only for what needs no token: see `guard.ts`. */
  actor: Actor | undefined;
  /** On every error that the caller sees and on every log line about it. */
  traceId: string;
  /** The connection that it came over, where there is one. */
  clientId: string | undefined;
  loaders: Loaders;
}

/** Joins the look-ups of one operation, so that a list of references costs one statement. */
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
      // A subscription lives long and keeps its context: it would be given what was true when it began.
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

/** @throws `unauthenticated` when nobody is signed in. */
export function signedIn({ actor }: Pick<GraphContext, 'actor'>): Actor {
  if (!actor) throw new AppError('unauthenticated', 'A bearer token is required.');
  return actor;
}
