/**
 * Tells the page's other tabs in this browser what was done here. Says only that something changed:
 * what it is now, each tab asks the server.
 */

export type News = { readonly kind: "changed" } | { readonly kind: "signed_out" };

const CHANNEL = "chatcore";

export class OtherTabs {
  private readonly channel = new BroadcastChannel(CHANNEL);

  constructor(onNews: (news: News) => void) {
    this.channel.onmessage = ({ data }: MessageEvent<News>) => onNews(data);
  }

  tell(news: News): void {
    this.channel.postMessage(news);
  }
}
