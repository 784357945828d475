// `fetch` for an actor whose manifest grants the handler `http-client`. A build imports this before the actor.
import { installFetch } from './fetch';

installFetch();
