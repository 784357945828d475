#!/usr/bin/env escript
%%! +S 1:1
%% Records the behaviour of a real OTP supervisor; `src/theater/tree/otp.rs` compares the tree with it.
%%
%% To write the table again (Debian: `apt-get install --no-install-recommends erlang-base`; nothing else needs Erlang):
%%
%%     escript tests/otp/matrix.escript > tests/otp/matrix.json
%%
%% Every script begins with a supervisor and its children, all up; child 0 is the oldest. A step is carried out when the
%% effects of the one before it are over. A step on a child that does not run is skipped.
%%
%%     crash 1          child 1 exits abnormally
%%     crash 1 with 0   so do 1 and, before the supervisor has looked, 0
%%     terminate 1      supervisor:terminate_child
%%     restart 1        supervisor:restart_child
%%     refuse 1         the next start of child 1 fails
%%
%% Policies are a letter for each child: t(emporary), s (transient), p(ermanent). A row is
%%
%%     [max_restarts, script, alive at the end, gone at the end, started by the script in order,
%%      told to shut down in order, supervisor: "up" | "died" | "restarted"]
%%
%% The window is an hour. The supervisors under "nested" are children, of the given policy, of another supervisor.
-mode(compile).
-export([init/1, start_sup/2, start_child/1, begin_child/1]).

main(_) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    ets:new(log, [named_table, public, ordered_set]),
    ets:new(refuse, [named_table, public, set]),
    Three = [[A, B, C] || A <- "tsp", B <- "tsp", C <- "tsp"],
    Four = ["pppp", "ssss", "ptsp", "sptp", "tpps", "pstt"],
    Strategies = [one_for_one, one_for_all, rest_for_one],
    Flat = [{none, S, P, all_scripts(3)} || S <- Strategies, P <- Three]
        ++ [{none, S, P, some_scripts(4)} || S <- Strategies, P <- Four],
    Nested = [{Own, S, P, beyond(3)} || Own <- "tsp", S <- Strategies, P <- ["ppp", "sps", "tpt"]],
    io:put_chars(["{\"flat\":[\n", families(Flat), "],\n\"nested\":[\n", families(Nested), "]}\n"]).

%% Scripts

all_scripts(N) ->
    Is = lists:seq(0, N - 1),
    some_scripts(N)
        ++ [{1, [{terminate, P}, {restart, P}]} || P <- Is]
        ++ [{1, [{terminate, P}, {restart, P}, {crash, P}]} || P <- Is]
        ++ [{Max, [{crash, P}, {crash, Q}]} || Max <- [1, 2], P <- Is, Q <- Is, P =/= Q]
        ++ [{Max, [{crash, P, Q}]} || Max <- [1, 2], P <- Is, Q <- Is, P =/= Q]
        ++ [{1, [{refuse, P}, {crash, P}]} || P <- Is]
        ++ [{2, [{refuse, Q}, {crash, P}]} || P <- Is, Q <- Is].

some_scripts(N) ->
    Is = lists:seq(0, N - 1),
    [{Max, lists:duplicate(Times, {crash, P})} || Max <- [0, 1, 2], Times <- lists:seq(1, Max + 1), P <- Is]
        ++ [{1, [{terminate, P}]} || P <- Is]
        ++ [{1, [{terminate, P}, {crash, Q}]} || P <- Is, Q <- Is, P =/= Q].

beyond(N) ->
    [{Max, lists:duplicate(Max + 1, {crash, P})} || Max <- [0, 1], P <- lists:seq(0, N - 1)].

%% Supervisors and children

init({Strategy, Max, Children}) ->
    {ok, {#{strategy => Strategy, intensity => Max, period => 3600}, Children}}.

start_sup(Strategy, {Max, Policies}) ->
    Numbered = lists:zip(lists:seq(0, length(Policies) - 1), Policies),
    Children = [#{id => I, start => {?MODULE, start_child, [I]}, restart => policy(P)} || {I, P} <- Numbered],
    supervisor:start_link(?MODULE, {Strategy, Max, Children}).

start_top(Own, Strategy, Arg) ->
    Child = #{id => sup, start => {?MODULE, start_sup, [Strategy, Arg]}, restart => policy(Own), type => supervisor},
    supervisor:start_link(?MODULE, {one_for_one, 9, [Child]}).

policy($t) -> temporary;
policy($s) -> transient;
policy($p) -> permanent.

start_child(I) ->
    case ets:take(refuse, I) of
        [] -> proc_lib:start_link(?MODULE, begin_child, [I]);
        [_] -> {error, refused}
    end.

begin_child(I) ->
    process_flag(trap_exit, true),
    note({started, I, self()}),
    proc_lib:init_ack({ok, self()}),
    receive
        crash -> exit(crash);
        {'EXIT', _, shutdown} -> note({ended, I, self()}), exit(shutdown)
    end.

note(What) ->
    ets:insert(log, {erlang:unique_integer([monotonic]), What}).

%% Running

families(Families) ->
    lists:join(",\n", [family(Family) || Family <- Families]).

family({Own, Strategy, Policies, Scripts}) ->
    Rows = [row(Own, Strategy, Policies, Script) || Script <- Scripts],
    Head = case Own of
        none -> "";
        _ -> io_lib:format("\"own\":\"~c\",", [Own])
    end,
    Name = string:replace(atom_to_list(Strategy), "_", "-", all),
    io_lib:format("{~s\"strategy\":\"~s\",\"policies\":\"~s\",\"rows\":[~n~s]}",
                  [Head, Name, Policies, lists:join(",\n", Rows)]).

row(Own, Strategy, Policies, {Max, Steps}) ->
    ets:delete_all_objects(refuse),
    {ok, Root} = case Own of
        none -> start_sup(Strategy, {Max, Policies});
        _ -> start_top(Own, Strategy, {Max, Policies})
    end,
    First = supervisor_of(Own, Root),
    Born = [Pid || {_, {started, _, Pid}} <- ets:tab2list(log)],
    ets:delete_all_objects(log),
    [step(supervisor_of(Own, Root), Root, Step) || Step <- Steps],
    Last = supervisor_of(Own, Root),
    Happened = [What || {_, What} <- ets:tab2list(log)],
    Running = [I || {I, Pid, _, _} <- children(Last), is_pid(Pid)],
    Alive = lists:sort(Running),
    Gone = lists:seq(0, length(Policies) - 1) -- Alive,
    %% Nothing runs that is not the supervisor's: if it died, nothing does.
    Pids = Born ++ [Pid || {started, _, Pid} <- Happened],
    true = length(Alive) =:= length([Pid || Pid <- Pids, is_process_alive(Pid)]),
    Became = if Last =:= First -> "up"; Last =:= none -> "died"; true -> "restarted" end,
    stop(Root),
    ets:delete_all_objects(log),
    Digits = fun(Is) -> [integer_to_list(I) || I <- Is] end,
    io_lib:format("[~b,\"~s\",\"~s\",\"~s\",\"~s\",\"~s\",\"~s\"]",
                  [Max, lists:join(", ", [words(Step) || Step <- Steps]), Digits(Alive), Digits(Gone),
                   Digits([I || {started, I, _} <- Happened]), Digits([I || {ended, I, _} <- Happened]), Became]).

words({crash, P, Q}) -> io_lib:format("crash ~b with ~b", [P, Q]);
words({What, P}) -> io_lib:format("~s ~b", [What, P]).

supervisor_of(none, Root) ->
    case is_process_alive(Root) of
        true -> Root;
        false -> none
    end;
supervisor_of(_, Root) ->
    case supervisor:which_children(Root) of
        [{sup, Pid, _, _}] when is_pid(Pid) -> Pid;
        _ -> none
    end.

children(none) -> [];
children(Sup) -> supervisor:which_children(Sup).

step(none, _, _) -> ok;
step(_, _, {refuse, P}) -> ets:insert(refuse, {P});
step(Sup, _, {terminate, P}) -> supervisor:terminate_child(Sup, P);
step(Sup, _, {restart, P}) -> supervisor:restart_child(Sup, P);
step(Sup, Root, {crash, P}) -> crash(Sup, Root, [P]);
step(Sup, Root, {crash, P, Q}) -> crash(Sup, Root, [P, Q]).

%% While the supervisor is suspended, it does not look; what happened waits in its mailbox, in this order.
crash(Sup, Root, Ps) ->
    Children = children(Sup),
    ok = sys:suspend(Sup),
    [begin
        Pid ! crash,
        wait(fun() ->
            {messages, Messages} = process_info(Sup, messages),
            lists:member({'EXIT', Pid, crash}, Messages)
        end)
     end || P <- Ps, {I, Pid, _, _} <- Children, I =:= P, is_pid(Pid)],
    ok = sys:resume(Sup),
    wait(fun() -> settled(Sup) end),
    wait(fun() -> Sup =:= Root orelse not linked(Root, Sup) orelse is_process_alive(Sup) end),
    wait(fun() -> settled(Root) end).

linked(Root, Sup) ->
    {links, Links} = process_info(Root, links),
    lists:member(Sup, Links).

%% It is gone, or has nothing left to look at.
settled(Sup) ->
    case process_info(Sup, [message_queue_len, status, current_function]) of
        undefined -> true;
        [{_, 0}, {_, waiting}, {_, {gen_server, loop, _}}] -> true;
        _ -> false
    end.

wait(Holds) ->
    case Holds() of
        true -> ok;
        false -> erlang:yield(), wait(Holds)
    end.

stop(Root) ->
    exit(Root, shutdown),
    receive {'EXIT', Root, _} -> ok end.
