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

/** One operation of `schema/operations`, ready to be opened in a tab. */
export interface SavedOperation {
  /** What the list shows: the operation's name, or the file's where it has none. */
  name: string;
  kind: OperationTypeNode;
  /** As written in its file, comments included. */
  text: string;
  /** JSON with a place for each variable that must be given, or empty. */
  variables: string;
}

const files = import.meta.glob<string>('../../../schema/operations/*.graphql', {
  query: '?raw',
  eager: true,
  import: 'default',
});

/** Every operation of `schema/operations/*.graphql`, as of the build. */
export const savedOperations: SavedOperation[] = [];

/** Fragments of those files; GraphiQL adds the ones a query uses. */
export const savedFragments: FragmentDefinitionNode[] = [];

for (const [path, text] of Object.entries(files)) {
  try {
    const { definitions } = parse(text);
    const operations = definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    savedFragments.push(...definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION));
    for (const operation of operations) {
      // Of several in one file, a click opens just the one; its fragments are at hand anyway.
      const own = operations.length === 1 ? text : text.slice(operation.loc?.start, operation.loc?.end);
      savedOperations.push(describe(nameOf(path), own, operation));
    }
  } catch {
    // Listed as it is: the editor marks what is wrong with it, and the others stay usable.
    savedOperations.push({ name: nameOf(path), kind: OperationTypeNode.QUERY, text, variables: '' });
  }
}

function nameOf(path: string): string {
  return path.replace(/^.*\/|\.graphql$/g, '');
}

function describe(file: string, text: string, operation: OperationDefinitionNode): SavedOperation {
  const required = (operation.variableDefinitions ?? []).filter(
    ({ type, defaultValue }) => type.kind === Kind.NON_NULL_TYPE && !defaultValue,
  );
  // Scalars as empty text, the rest as an object to fill in: the editor marks what does not fit.
  const variables = Object.fromEntries(
    required.map(({ variable, type }) => [variable.name.value, print(type).endsWith('Input!') ? {} : '']),
  );
  return {
    name: operation.name?.value ?? file,
    kind: operation.operation,
    text,
    variables: required.length > 0 ? JSON.stringify(variables, null, 2) : '',
  };
}

/** Undefined for what does not parse: the service says what is wrong with it, and where. */
export function documentIn(text: string): DocumentNode | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** Adds the saved fragments that a text uses and does not bring along, at its end, so that its lines stay where they are. */
export function withSavedFragments(text: string): string {
  const definitions = [...(documentIn(text)?.definitions ?? [])];
  const own = definitions.length;
  const has = new Set(
    definitions.flatMap((definition) => (definition.kind === Kind.FRAGMENT_DEFINITION ? [definition.name.value] : [])),
  );
  // What is added may use others, and is looked at in its turn.
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
