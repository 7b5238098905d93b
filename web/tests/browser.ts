/**
 * A browser for tests: one storage, and names that one tab at a time may hold.
 *
 * What is left out: storage reaches other tabs at once here.
 */

import type { Tab } from "../src/page/outbox";
import { FakeStorage } from "./fakes";

export class FakeBrowser {
  readonly storage = new FakeStorage();
  private readonly tabs = new Set<FakeTab>();
  private readonly lines = new Map<string, { tab: FakeTab; held: () => void }[]>();

  open(): FakeTab {
    const tab = new FakeTab(this);
    this.tabs.add(tab);
    return tab;
  }

  /** Of the tab's own view of the storage, whose writes the other tabs hear of. */
  changedBy(writer: FakeTab): void {
    for (const tab of this.tabs) if (tab !== writer) tab.look();
  }

  /** The first in a line holds the name. */
  enqueue(name: string, tab: FakeTab, held: () => void): void {
    const line = this.lines.get(name) ?? [];
    this.lines.set(name, line);
    line.push({ tab, held });
    if (line.length === 1) held();
  }

  close(tab: FakeTab): void {
    this.tabs.delete(tab);
    for (const [name, line] of this.lines) {
      const [first] = line;
      const left = line.filter((each) => each.tab !== tab);
      this.lines.set(name, left);
      if (first?.tab === tab) left[0]?.held();
    }
  }
}

export class FakeTab implements Tab {
  readonly storage: FakeStorage;
  private looks: (() => void)[] = [];

  constructor(private readonly browser: FakeBrowser) {
    const { storage } = browser;
    const changed = (): void => browser.changedBy(this);
    this.storage = Object.create(storage, {
      setItem: {
        value: (key: string, value: string) => {
          storage.setItem(key, value);
          changed();
        },
      },
      removeItem: {
        value: (key: string) => {
          storage.removeItem(key);
          changed();
        },
      },
    }) as FakeStorage;
  }

  hold(name: string, held: () => void): void {
    this.browser.enqueue(name, this, held);
  }

  onStored(look: () => void): void {
    this.looks.push(look);
  }

  look(): void {
    for (const look of this.looks) look();
  }

  close(): void {
    this.browser.close(this);
  }
}
