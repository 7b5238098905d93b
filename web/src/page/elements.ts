/** Finding and making elements. Text goes in as text only, never as markup. */

type Attributes = Readonly<Record<string, string>>;

/** An element of index.html; its absence is a fault of the build. */
export function part<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} called ${id}`);
  return found;
}

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes,
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Changes the text only if it is another, so that live regions and selections are left alone. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

export interface Item {
  readonly root: HTMLElement;
}

/** A list whose entries keep their elements, and so focus and selection, while it changes. */
export class KeyedList<Shown extends Item> {
  private readonly items = new Map<string, Shown>();

  constructor(private readonly list: HTMLElement) {}

  /** `make` is called for keys that are new, `update` for all, in order. */
  show<Entry>(
    entries: readonly Entry[],
    keyOf: (entry: Entry) => string,
    make: (entry: Entry) => Shown,
    update: (item: Shown, entry: Entry) => void,
  ): void {
    const keys = new Set(entries.map(keyOf));
    for (const [key, item] of this.items) {
      if (keys.has(key)) continue;
      item.root.remove();
      this.items.delete(key);
    }
    entries.forEach((entry, index) => {
      const item = this.items.get(keyOf(entry)) ?? make(entry);
      this.items.set(keyOf(entry), item);
      update(item, entry);
      const present = this.list.children.item(index);
      if (present !== item.root) this.list.insertBefore(item.root, present);
    });
  }
}
