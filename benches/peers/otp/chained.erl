%% The work of the comparison as an OTP programmer would write it: a gen_server for each actor, a chain of
%% crypto:hash(sha, ...), and a logger process that writes what waits to a disk_log, syncs once, then lets the answers go.
%%
%% erl -noshell -run chained main ACTORS memory|durable MILLISECONDS STATE_BYTES LOG_FILE
-module(chained).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2]).

main([Actors0, Mode0, Millis0, StateBytes0, File]) ->
    [Actors, Millis, StateBytes] = [list_to_integer(X) || X <- [Actors0, Millis0, StateBytes0]],
    Logger = case Mode0 of
        "durable" -> spawn(fun() -> start_log(File) end);
        "memory" -> none
    end,
    State = binary:copy(<<7>>, StateBytes),
    Pids = [begin {ok, Pid} = gen_server:start(?MODULE, {N, State, Logger}, []), Pid end
            || N <- lists:seq(1, Actors)],
    Message = binary:copy(<<"e">>, 64),
    measure(Pids, Message, Millis div 5),
    {Done, Micros} = measure(Pids, Message, Millis),
    io:format("~b ~b~n", [Done, Micros]),
    halt(0).

%% One client an actor, each asking as fast as it is answered.
measure(Pids, Message, Millis) ->
    Self = self(),
    Begun = erlang:monotonic_time(microsecond),
    Until = Begun + Millis * 1000,
    Clients = [spawn(fun() -> Self ! {self(), ask(Pid, Message, Until, 0)} end) || Pid <- Pids],
    Done = lists:sum([receive {Client, Count} -> Count end || Client <- Clients]),
    {Done, erlang:monotonic_time(microsecond) - Begun}.

ask(Pid, Message, Until, Count) ->
    Message = gen_server:call(Pid, Message, infinity),
    case erlang:monotonic_time(microsecond) < Until of
        true -> ask(Pid, Message, Until, Count + 1);
        false -> Count + 1
    end.

init({Number, State, Logger}) ->
    {ok, {Number, 0, <<0:160>>, State, Logger}}.

handle_call(Message, From, {Number, Sequence, Head, <<Count:64, Rest/binary>>, Logger}) ->
    State = <<(Count + 1):64, Rest/binary>>,
    Call = event(Number, Sequence, Head, <<"call">>, Message),
    Return = event(Number, Sequence + 1, element(4, Call), <<"return">>, [State, Message]),
    Next = {Number, Sequence + 2, element(4, Return), State, Logger},
    case Logger of
        none -> {reply, Message, Next};
        _ -> Logger ! {log, [Call, Return], From, Message}, {noreply, Next}
    end.

handle_cast(_, State) -> {noreply, State}.

event(Number, Sequence, Parent, Type, Data) ->
    Timestamp = erlang:system_time(millisecond),
    DataHash = crypto:hash(sha, Data),
    Hash = crypto:hash(sha, [<<"theater-chain-event-v1", 0, Sequence:64, 1>>, Parent, <<Timestamp:64>>, Type,
                             <<(iolist_size(Data)):64>>, DataHash]),
    {Number, Sequence, Timestamp, Hash, Type, Data}.

start_log(File) ->
    {ok, Log} = disk_log:open([{name, chain}, {file, File}, {mode, read_write}]),
    log(Log).

log(Log) ->
    receive {log, Events, From, Reply} -> ok end,
    {All, Answers} = waiting([Events], [{From, Reply}]),
    ok = disk_log:log_terms(Log, lists:append(lists:reverse(All))),
    ok = disk_log:sync(Log),
    [gen_server:reply(To, Answer) || {To, Answer} <- lists:reverse(Answers)],
    log(Log).

waiting(All, Answers) ->
    receive {log, Events, From, Reply} -> waiting([Events | All], [{From, Reply} | Answers])
    after 0 -> {All, Answers}
    end.
