import { Authorized, Directive, Extensions } from 'type-graphql';

import type { Permission } from '../../src/identity/permissions.ts';

/** Under this key a field's schema extensions say what it needs: `null` for any signed-in user. */
export const PERMISSION = 'permission';

const all =
  (...decorators: MethodDecorator[]): MethodDecorator =>
  (target, key, descriptor) => {
    for (const decorate of decorators) decorate(target, key, descriptor);
  };

/** The field is for callers with this permission: said to gateways, and enforced here. Contracts may leave it out. */
export const Requires = (permission: Permission): MethodDecorator =>
  all(
    Authorized(permission),
    Directive(`@requiresScopes(scopes: [["${permission}"]])`) as MethodDecorator,
    Directive('@tag(name: "admin")') as MethodDecorator,
    Extensions({ [PERMISSION]: permission }) as MethodDecorator,
  );

/** The field is for anybody who is signed in. */
export const SignedIn = (): MethodDecorator =>
  all(
    Authorized(),
    Directive('@authenticated') as MethodDecorator,
    Directive('@tag(name: "inbox")') as MethodDecorator,
    Extensions({ [PERMISSION]: null }) as MethodDecorator,
  );

/** A list that is given as a whole, and about how long it is. */
export const Sized = (assumedSize: number): MethodDecorator & PropertyDecorator =>
  Directive(`@listSize(assumedSize: ${assumedSize})`) as MethodDecorator & PropertyDecorator;

/** What the field costs by itself, where that is more than an object of its own; see `limits.ts`. */
export const Costs = (weight: number): MethodDecorator => Directive(`@cost(weight: ${weight})`) as MethodDecorator;
