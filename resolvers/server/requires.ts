import { Authorized, Directive, Extensions } from 'type-graphql';

import type { Permission } from '../../src/identity/permissions.ts';

/** Key of the schema extension that holds a field's required permission; `null` for any signed-in user. */
export const PERMISSION = 'permission';

const all =
  (...decorators: MethodDecorator[]): MethodDecorator =>
  (target, key, descriptor) => {
    for (const decorate of decorators) decorate(target, key, descriptor);
  };

/** Restricts a field to callers with this permission. Gateways read it as a directive, and the service enforces it. */
export const Requires = (permission: Permission): MethodDecorator =>
  all(
    Authorized(permission),
    Directive(`@requiresScopes(scopes: [["${permission}"]])`) as MethodDecorator,
    Directive('@tag(name: "admin")') as MethodDecorator,
    Extensions({ [PERMISSION]: permission }) as MethodDecorator,
  );

/** Restricts a field to signed-in callers. */
export const SignedIn = (): MethodDecorator =>
  all(
    Authorized(),
    Directive('@authenticated') as MethodDecorator,
    Directive('@tag(name: "inbox")') as MethodDecorator,
    Extensions({ [PERMISSION]: null }) as MethodDecorator,
  );

/** Declares the typical length of a list without pagination, for cost estimation. */
export const Sized = (assumedSize: number): MethodDecorator & PropertyDecorator =>
  Directive(`@listSize(assumedSize: ${assumedSize})`) as MethodDecorator & PropertyDecorator;

/** Declares the cost of a field when it is more than that of an object: see `query-limits.ts`. */
export const Costs = (weight: number): MethodDecorator => Directive(`@cost(weight: ${weight})`) as MethodDecorator;
