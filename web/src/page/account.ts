/**
 * The account of whoever is signed in: what it is and has used, its data to take along, and its end.
 *
 * Owns what is done for the account's window; how it looks is the view's business, and what a user leaves
 * behind on this browser is the page's.
 */

import type { HttpApi, Me } from "../client/http";
import { AccountView } from "./account_view";
import { ExportRequest } from "./export_request";
import type { Problems } from "./problems";
import type { SidebarView } from "./sidebar_view";
import { clock } from "./surroundings";
import { codeOf } from "./words";

export class Account {
  private readonly view: AccountView;

  /** `deleted` is called once the account is closed for good. */
  constructor(
    private readonly http: HttpApi,
    private readonly problems: Problems,
    private readonly sidebar: SidebarView,
    private readonly deleted: () => void,
  ) {
    const request = new ExportRequest(http, clock, Math.random, (state) =>
      this.view.showExport(state),
    );
    this.view = new AccountView({
      askForExport: () => void request.ask(),
      deleteAccount: (email) => this.delete(email),
    });
  }

  async load(): Promise<Me> {
    const me = await this.http.me();
    this.sidebar.showAccount(me);
    this.view.showEmail(me.email);
    return me;
  }

  private async delete(email: string): Promise<void> {
    try {
      await this.http.deleteAccount(email);
    } catch (problem) {
      if (codeOf(problem) === "unauthorized") this.problems.tell("unauthorized");
      throw problem;
    }
    this.deleted();
  }
}
