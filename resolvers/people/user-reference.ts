import { Directive, Field, ID, ObjectType } from 'type-graphql';

/** What this subgraph knows of a user: the id. The identity subgraph owns the rest. */
@Directive('@key(fields: "id")')
@ObjectType('User', { description: 'A user of the platform. The identity subgraph provides the other fields.' })
export class UserReference {
  @Field(() => ID, { description: "ID of the user: the `sub` claim of the user's token." })
  id!: string;
}
