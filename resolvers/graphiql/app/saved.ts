import {
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  print,
  visit,
} from 'graphql';

/** One operation of `schema/operations`. */
export interface SavedOperation {
  /** Name in the list: that of the operation, or of the file when the operation has none. */
  name: string;
  kind: OperationTypeNode;
  /** Text of the file, including comments. */
  text: string;
  /** A placeholder for each required variable. */
  placeholders: Record<string, unknown>;
}

const files = import.meta.glob<string>('../../../schema/operations/*.graphql', {
  query: '?raw',
  eager: true,
  import: 'default',
});

/** All operations of `schema/operations/*.graphql` at the time of the build. */
export const savedOperations: SavedOperation[] = [];

/** Fragments of those files. GraphiQL adds those that a query uses. */
export const savedFragments: FragmentDefinitionNode[] = [];

for (const [path, text] of Object.entries(files)) {
  try {
    const { definitions } = parse(text);
    const operations = definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    savedFragments.push(...definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION));
    for (const operation of operations) {
      // If a file contains several operations, a click opens only this one, with the comment directly above it.
      // GraphiQL adds its fragments.
      const own = operations.length === 1 ? text : withComment(text, operation);
      savedOperations.push(describe(nameOf(path), own, operation));
    }
  } catch {
    // A file with a syntax error is listed unchanged. The editor marks the error, and the other files stay usable.
    savedOperations.push({ name: nameOf(path), kind: OperationTypeNode.QUERY, text, placeholders: {} });
  }
}

function nameOf(path: string): string {
  return path.replace(/^.*\/|\.graphql$/g, '');
}

function withComment(text: string, { loc }: OperationDefinitionNode): string {
  const comment = /(?:(?<=^|\n)#[^\n]*\n)*$/.exec(text.slice(0, loc?.start))?.[0] ?? '';
  return comment + text.slice(loc?.start, loc?.end);
}

function describe(file: string, text: string, operation: OperationDefinitionNode): SavedOperation {
  const required = (operation.variableDefinitions ?? []).filter(
    ({ type, defaultValue }) => type.kind === Kind.NON_NULL_TYPE && !defaultValue,
  );
  return {
    name: operation.name?.value ?? file,
    kind: operation.operation,
    text,
    // An empty string for scalars, an empty object for other types. The editor marks values of the wrong type.
    placeholders: Object.fromEntries(
      required.map(({ variable, type }) => [variable.name.value, print(type).endsWith('Input!') ? {} : '']),
    ),
  };
}

/** Returns undefined for a text with a syntax error. The service then reports the error. */
export function documentIn(text: string): DocumentNode | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** Appends the saved fragments that a text uses but does not define. Appended at the end, so that line numbers stay. */
export function withSavedFragments(text: string): string {
  const definitions = [...(documentIn(text)?.definitions ?? [])];
  const own = definitions.length;
  const has = new Set(
    definitions.flatMap((definition) => (definition.kind === Kind.FRAGMENT_DEFINITION ? [definition.name.value] : [])),
  );
  // The added fragments may use others.
  for (const definition of definitions) {
    visit(definition, {
      FragmentSpread: ({ name }) => {
        const fragment = savedFragments.find((saved) => saved.name.value === name.value);
        if (!fragment || has.has(name.value)) return;
        has.add(name.value);
        definitions.push(fragment);
      },
    });
  }
  return [text, ...definitions.slice(own).map(print)].join('\n');
}
