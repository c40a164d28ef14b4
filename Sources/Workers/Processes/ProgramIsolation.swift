import CSupervisor
import Contracts
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// How the programs of users are kept apart from the server, by what the machine offers. docs/steps.md says what each way refuses to steps,
/// docs/workers.md what it refuses to workers.
public struct ProgramIsolation: Sendable, Hashable {
    /// The setting `pipelines.sandbox`, which is about workers too.
    public enum Setting: String, Sendable, CaseIterable {
        /// The best of the others that works.
        case auto
        /// bubblewrap: the system read-only, the home hidden, process ids of its own; when the server is root another user, or no capabilities.
        case bwrap
        /// Another user, without a sandbox.
        case user
        /// The server's own user.
        case none
    }

    /// Folders that the isolation is about.
    public struct Folders: Sendable, Hashable {
        let home: String
        let project: String
        let work: String
        /// Files and folders outside of the home.
        let hidden: [String]

        /// The paths are kept without symbolic links: hiding a link would leave what it points to in the open.
        /// - Parameters:
        ///   - home, project, work: absolute paths; the work folder lies in the home.
        ///   - hidden: absolute paths of secret files outside of the home.
        public init(home: String, project: String, work: String, hidden: [String] = []) {
            let real = Folders.resolved(home)
            self.home = real
            self.project = Folders.resolved(project)
            self.work = work.hasPrefix(home + "/") ? real + work.dropFirst(home.count) : Folders.resolved(work)
            // A part of the home may lie on another disk.
            let names = (try? FileManager.default.contentsOfDirectory(atPath: real)) ?? []
            let linked = names.map { "\(real)/\($0)" }.filter { Folders.resolved($0) != $0 }
            self.hidden = Set((hidden + linked).map(Folders.resolved)).filter { !(real + "/").hasPrefix($0 + "/") }.sorted()
        }

        /// The path without symbolic links, also when the last parts of it do not exist yet.
        package static func resolved(_ path: String) -> String {
            if let real = realpath(path, nil) {
                defer { free(real) }
                return String(cString: real)
            }
            let parent = (path as NSString).deletingLastPathComponent
            guard path.hasPrefix("/"), parent != path else { return path }
            return (resolved(parent) as NSString).appendingPathComponent((path as NSString).lastPathComponent)
        }
    }

    /// What programs see of the machine.
    public enum View: Sendable, Hashable {
        /// The system and the project's folder, read-only. For the programs of steps.
        case project
        /// The system's programs and libraries and what `Access` names, read-only, as far as the way of isolating can hide the rest. For workers,
        /// whose code comes with models.
        case only
    }

    /// What one program of the view `only` may reach.
    package struct Access: Sendable {
        /// Absolute paths without symbolic links.
        package var readable: [String] = []
        /// Besides its own folder.
        package var writable: [String] = []
        package var hasNetwork = false
        /// Of its folder for temporary files, and of its shared memory; where the sandbox gives it its own.
        package var temporaryBytes: Int64 = 64 << 20

        package init(
            readable: [String] = [], writable: [String] = [], hasNetwork: Bool = false, temporaryBytes: Int64 = 64 << 20
        ) {
            self.readable = readable
            self.writable = writable
            self.hasNetwork = hasNetwork
            self.temporaryBytes = temporaryBytes
        }
    }

    enum Kind: String, Sendable {
        case bwrap, user, none
        /// Nothing works, and the server is root: its rights are not lent to programs.
        case refused
    }
    let kind: Kind
    let user: ProgramUser?
    /// Where each program gets a user of its own: `forOneProgram` takes it.
    private(set) var users: ProgramUsers?
    private var lease: ProgramUserLease?
    let folders: Folders?
    /// What its programs see of the machine.
    private(set) var view = View.project
    private let bwrap = ProgramIsolation.systemProgram("bwrap")
    private let setpriv = ProgramIsolation.systemProgram("setpriv")
    /// What would be stricter, and why it does not work here.
    public private(set) var passedOver: [String] = []

    /// No isolation but the clean environment, the closed descriptors and the supervisor.
    public static let none = ProgramIsolation(kind: .none, user: nil, folders: nil)

    /// For the log and for `keel doctor`.
    public var description: String {
        switch kind {
        case .bwrap:
            "bwrap"
                + (whose ?? (geteuid() == 0 ? ", as root without its capabilities" : ", as the server's own user"))
        case .user: users == nil ? "the user \(user?.name ?? "")" : "a user of its own for each program"
        case .none: "none"
        case .refused: "no way works here, so programs of steps are refused"
        }
    }
    private var whose: String? { users == nil ? user.map { ", as the user \($0.name)" } : ", each program as a user of its own" }
    /// For metrics.
    public var labels: [String: String] { ["by": kind.rawValue, "user": users?.description ?? user?.name ?? ""] }
    /// Whether programs can read what the server's user can, its secrets among it.
    public var exposesSecrets: Bool { kind == .none }
    /// Whether programs are kept from every network, when they are to be.
    private var closesNetwork: Bool { kind == .bwrap || (kind == .user || kind == .none) && geteuid() == 0 }

    /// What programs of the view `only` reach here although they should not, for people.
    /// - Parameter hasNetwork: whether they may reach the network.
    package func gaps(hasNetwork: Bool) -> [String] {
        var out: [String] = []
        if kind == .none {
            out.append("the code can read what the server's user can, its secrets too, and can fill the disk; \(advice)")
        }
        if kind == .user {
            let others = users == nil ? "the user \(user?.name ?? "") may read, and reach other programs of that user" : "every user of this machine may read"
            out.append("the code can read what \(others); \(advice)")
        }
        if kind == .bwrap, let user, users == nil {
            out.append("programs of the user \(user.name) share its keys and its limit of processes; let serving.python.users give each its own")
        }
        if !hasNetwork, !closesNetwork, !isFiltered {
            out.append("the code can reach the network, as nothing here can keep it from that; \(advice)")
        }
        if !isFiltered { out.append("the code may make every system call, as this system takes no filter of them") }
        if !countsProcesses { out.append("how many processes the code starts is watched, and not limited by the system") }
        return out
    }

    /// What protects the server and other programs from programs of the view `only` on this machine, for people: what holds, and what does not.
    /// - Parameter hasNetwork: whether they may reach the network.
    public func protections(hasNetwork: Bool) -> [ProgramProtection] {
        let files =
            switch kind {
            case .bwrap: "the system's programs, the model and its environment, read-only"
            case .user: "what every user of this machine may read"
            case .none: "what the server's user may read, its secrets too"
            case .refused: "none, as no program is started"
            }
        let ownUser = kind == .bwrap && geteuid() != 0 ? "the server's own, in a user namespace for each program" : "the server's own"
        let network =
            hasNetwork
            ? "open, as serving.python.network says"
            : closesNetwork ? "none" : isFiltered ? "no sockets but of this machine" : "open, as nothing here can close it"
        return [
            ProgramProtection("files", kind == .bwrap || kind == .refused, files),
            ProgramProtection(
                "user", users != nil || kind == .bwrap && user == nil && geteuid() != 0,
                users.map { "one for each program, of \($0.description)" } ?? user.map { "\($0.name), for all programs" } ?? ownUser),
            ProgramProtection("network", !hasNetwork && (closesNetwork || isFiltered), network),
            ProgramProtection("system calls", isFiltered, isFiltered ? "filtered" : "all, as this system takes no filter"),
            ProgramProtection("processes", countsProcesses, countsProcesses ? "limited by the system" : "watched four times a second"),
            ProgramProtection(
                "memory", false, "watched four times a second; the system limits each process alone, and ends programs before the server"),
        ]
    }

    /// Programs of the view `only` get a filter wherever the system takes one.
    private var isFiltered: Bool { view == .only && SystemCallFilter.isAvailable }
    /// Whether the system counts the processes of one program alone.
    private var countsProcesses: Bool { users != nil || kind == .bwrap && user == nil && geteuid() != 0 && ProgramIsolation.countsByNamespace }
    /// Since Linux 5.14 a user's processes are counted in each user namespace.
    private static let countsByNamespace: Bool = {
        var name = utsname()
        guard uname(&name) == 0 else { return false }
        let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split { !$0.isNumber }.compactMap { Int($0) }
        return numbers.count > 1 && (numbers[0], numbers[1]) >= (5, 14)
    }()
    /// Whether no program is started.
    public var refusesPrograms: Bool { kind == .refused }
    /// What would help, for the log.
    public var advice: String {
        if passedOver.isEmpty { return "set pipelines.sandbox to auto" }
        return bwrap == nil ? "install bubblewrap" : "see above why bubblewrap does not work here"
    }

    /// A program of the system by its absolute path. `PATH` is not asked: what is found is started with the server's privileges.
    private static func systemProgram(_ name: String) -> String? {
        ["/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "/usr/local/bin/"].map { $0 + name }.first { access($0, X_OK) == 0 }
    }

    // MARK: Choosing

    /// Tries the ways that the setting allows, the best first, each with a real program.
    /// - Parameters:
    ///   - user: the setting `pipelines.user`.
    ///   - view: what the programs are to see of the machine.
    ///   - users: whether each program gets a user of its own, where the server is root; for the view `only`.
    /// - Throws: `failedPrecondition` when the setting demands a way that does not work here.
    public static func choose(
        _ setting: Setting, user: String?, folders: Folders, view: View = .project, users: ProgramUsers.Choice = .automatic
    ) async throws -> ProgramIsolation {
        let isRoot = geteuid() == 0
        if !isRoot, user != nil || setting == .user {
            throw KeelError(
                .failedPrecondition, "only root can start programs as another user", hint: "start the server as root",
                path: user == nil ? "pipelines.sandbox" : "pipelines.user")
        }
        let given = try user.map { name throws(KeelError) in try ProgramUser(named: name) }
        // Without a name, root hands programs to the user that owns nothing.
        let other = given ?? (isRoot ? try? ProgramUser(named: "nobody") : nil)
        // Who names a user means that one, for what it may read.
        let isForEach = isRoot && view == .only && (given == nil || users != .automatic)
        let range = isForEach ? try ProgramUsers.chosen(users) : nil
        func way(_ kind: Kind, _ user: ProgramUser?, _ users: ProgramUsers? = nil) -> ProgramIsolation {
            var way = ProgramIsolation(kind: kind, user: user, folders: folders)
            way.view = view
            way.users = users
            return way
        }
        func otherUsers(_ kind: Kind) -> [ProgramIsolation] { (range.map { [way(kind, nil, $0)] } ?? []) + (other.map { [way(kind, $0)] } ?? []) }
        let boxes = otherUsers(.bwrap)
        let ownBox = given == nil ? [way(.bwrap, nil)] : []
        let ways: [ProgramIsolation] =
            switch setting {
            case .auto where isRoot: boxes + otherUsers(.user) + ownBox
            case .auto: ownBox + [way(.none, nil)]
            case .bwrap: boxes + ownBox
            case .user: otherUsers(.user)
            case .none: [way(.none, nil)]
            }
        var problems: [String] = []
        let closed = [folders.home, folders.work].map { (path: $0, mode: mode(of: $0) ?? 0o700) }
        for way in ways {
            guard let problem = await way.problem() else {
                var chosen = way
                chosen.passedOver = problems
                return chosen
            }
            // What was opened for a user whose programs are not run after all is closed again.
            for (path, mode) in closed where ProgramIsolation.mode(of: path).map({ $0 != mode }) == true { chmod(path, mode) }
            problems.append("\(way.description): \(problem)")
        }
        if isRoot, other == nil { problems.append("this machine has no user 'nobody'") }
        if setting == .auto, given == nil {
            var refusal = way(.refused, nil)
            refusal.passedOver = problems
            return refusal
        }
        throw KeelError(
            .failedPrecondition,
            "programs \(view == .project ? "of steps" : "of workers") cannot be isolated as the settings say: "
                + problems.joined(separator: "; "),
            hint: "install bubblewrap, let the user read the project's folder, or set pipelines.sandbox to none", path: "pipelines.sandbox")
    }

    /// Why it does not work here; nil when a program ran within half a minute, read what it may read and wrote into its own folder.
    private func problem() async -> String? {
        if kind == .none { return nil }
        if kind == .bwrap, bwrap == nil { return "bubblewrap is not installed" }
        if kind == .bwrap, user != nil, setpriv == nil { return "setpriv (of util-linux) is not installed" }
        let folder = (folders?.work ?? "") + "/isolation-" + Identifier.hex32()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            let interpreter = Interpreter.found
            var readable = folders?.project ?? "/"
            if view == .only {
                readable = folder + "/readable"
                try FileManager.default.createDirectory(atPath: readable, withIntermediateDirectories: true)
                chmod(readable, 0o755)
            }
            let access = Access(readable: [readable] + (interpreter?.folders ?? []))
            let isolation = try forOneProgram()
            try isolation.prepare(folder: folder, access: access)
            let home = home(in: folder)
            let environment = ProgramIsolation.variables(workingDirectory: home)
            let script = #"ls "$1" > /dev/null && echo works > "$2/answer" && { [ -z "$3" ] || "$3" -c ''; }"#
            let said = Mutex<[String]>([])
            let lines = Lines(masking: SecretMask([])) { line in said.withLock { $0.append(line) } }
            let command = ["/bin/sh", "-eu", "-c", script, "sh", readable, home, interpreter?.path ?? ""]
            let child = try isolation.process(command, environment: environment, workingDirectory: folder, access: access)
            let trial = Task { try await child.run { lines.add($0) } }
            let limit = Task {
                try await Task.sleep(for: .seconds(30))
                trial.cancel()
            }
            defer { limit.cancel() }
            let end = try await trial.value
            lines.finish()
            return end == .exited(0) ? nil : said.withLock { $0.last } ?? "a program of a trial \(end)"
        } catch { return KeelError.wrapping(error).message }
    }

    // MARK: Running

    /// The variables that every program gets: nothing of this process but `PATH` and `LANG`.
    package static func variables(workingDirectory: String) -> [String: String] {
        let server = ProcessInfo.processInfo.environment
        return [
            "PATH": server["PATH"] ?? "/usr/local/bin:/usr/bin:/bin", "LANG": server["LANG"] ?? "C.UTF-8", "HOME": workingDirectory,
            "TMPDIR": workingDirectory + "/tmp",
        ]
    }

    /// This isolation for the programs of one worker, or of one environment that is made: with a user of its own, where there are such, until it is gone
    /// and the last of its programs has ended.
    /// - Throws: `unavailable` when no user is free.
    package func forOneProgram() throws(KeelError) -> ProgramIsolation {
        guard let users, lease == nil else { return self }
        let lease = try users.take()
        var out = ProgramIsolation(kind: kind, user: lease.user, folders: folders)
        out.view = view
        out.users = users
        out.lease = lease
        out.passedOver = passedOver
        return out
    }

    /// Where a program of the view `only` can write: in the sandbox a place in memory with a limit, else its folder.
    package func home(in folder: String) -> String { view == .only && kind == .bwrap ? "/tmp" : folder }

    /// Makes the working directory of a program, and what belongs to it, the program's own.
    /// - Throws: `failedPrecondition` when programs are refused.
    package func prepare(folder: String, access: Access = Access()) throws {
        if kind == .refused { throw refusal }
        try FileManager.default.createDirectory(atPath: folder + "/tmp", withIntermediateDirectories: true)
        guard let user else { return }
        for path in [folder, folder + "/tmp"] {
            guard lchown(path, user.uid, user.gid) == 0 else {
                throw KeelError(
                    .unavailable, "the program's folder cannot be given to the user \(user.name): \(String(cString: strerror(errno)))")
            }
        }
        // What it writes there is not for programs of other users.
        if lease != nil { chmod(folder, 0o700) }
        if kind == .user, let folders {
            // The way to its own folder: through the others it goes without reading them.
            for path in [folders.home, folders.work] { ProgramIsolation.letThrough(path) }
            for path in [folder] + access.readable where path.hasPrefix(folders.home + "/") {
                var parent = (path as NSString).deletingLastPathComponent
                while parent.hasPrefix(folders.home + "/") {
                    ProgramIsolation.letThrough(parent)
                    parent = (parent as NSString).deletingLastPathComponent
                }
            }
        }
    }

    private var refusal: KeelError {
        KeelError(
            .failedPrecondition,
            "the server is root and cannot start programs as another user: " + passedOver.joined(separator: "; "),
            hint: "start the server as a user that is not root, or let 'nobody' read the project's folder", path: "pipelines.sandbox")
    }

    private static func letThrough(_ path: String) {
        if let mode = mode(of: path), mode & 0o001 == 0 { chmod(path, mode | 0o011) }
    }

    /// The permissions of a file; nil when there is none.
    private static func mode(of path: String) -> mode_t? {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
    }

    /// The command as it is started in this isolation.
    package func process(
        _ command: [String], environment: [String: String], workingDirectory: String, limits: ProgramLimits = ProgramLimits(),
        access: Access = Access()
    ) throws(KeelError) -> ChildProcess {
        var child = ChildProcess(command: command, environment: environment, workingDirectory: workingDirectory, limits: limits)
        guard users == nil || lease != nil else { throw KeelError(.internal, "a program was started without the user that it has to have") }
        child.lease = lease
        // The system counts processes by user: those of the server's own are not the program's alone, nor are those of a user that programs share.
        if !countsProcesses { child.limits.processes = user == nil ? nil : limits.processes.map { max($0, 4096) } }
        if isFiltered { child.filter = access.hasNetwork || closesNetwork ? .withInternet : .withoutInternet }
        switch kind {
        case .refused: throw refusal
        case .none: child.hasNoNetwork = isClosed(access)
        case .user:
            child.user = user
            child.hasNoNetwork = isClosed(access)
        case .bwrap: child.launcher = (view == .only ? ownRoot(access) : bubblewrap(workingDirectory)) + asUser
        }
        return child
    }

    /// The same way of isolating for programs that see something else of the machine.
    package func seeing(_ view: View) -> ProgramIsolation {
        var out = self
        out.view = view
        return out
    }

    private func isClosed(_ access: Access) -> Bool { view == .only && !access.hasNetwork && closesNetwork }

    // MARK: The sandbox

    /// A file system that holds the system's programs and libraries and what the program may read, and nothing else.
    private func ownRoot(_ access: Access) -> [String] {
        guard let bwrap else { return [] }
        var out = [bwrap, "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        if isFiltered { out += ["--seccomp", String(KEEL_SUPERVISOR_FILTER)] }
        if !access.hasNetwork { out.append("--unshare-net") }
        for folder in ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
            if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: folder) {
                out += ["--symlink", target, folder]
            } else {
                out += ["--ro-bind-try", folder, folder]
            }
        }
        // The rest of /etc may hold keys of other services.
        for name in ProgramIsolation.systemFiles { out += way(to: "/etc/" + name, through: [""]) + ["--ro-bind-try", "/etc/" + name, "/etc/" + name] }
        if access.hasNetwork { out += ["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"] }
        // By these libraries count processors.
        for folder in ["cpu", "node"] { out += ["--ro-bind-try", "/sys/devices/system/\(folder)", "/sys/devices/system/\(folder)"] }
        out += ["--proc", "/proc"] + devices
        for folder in ["/tmp", "/dev/shm"] { out += ["--perms", "1777", "--size", String(access.temporaryBytes), "--tmpfs", folder] }
        out += ["--perms", "1777", "--dir", "/tmp/tmp"]
        for path in access.readable.sorted() where !path.hasPrefix("/usr/") {
            out += way(to: path, through: [""]) + ["--ro-bind", path, path]
        }
        for path in access.writable { out += way(to: path, through: [""]) + ["--bind", path, path] }
        // What is left are folders in memory, which would have no limit.
        return out + ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"] + capabilities + ["--"]
    }

    /// What programs need of /etc: libraries and where they lie, names, certificates, time.
    private static let systemFiles = [
        "alternatives", "ca-certificates", "ca-certificates.conf", "fonts", "gai.conf", "group", "host.conf", "hosts", "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "passwd", "pki", "protocols", "resolv.conf", "services", "ssl/certs",
        "ssl/openssl.cnf", "timezone",
    ]

    /// Accelerators: the empty /dev has none.
    private var devices: [String] {
        let devices = (try? FileManager.default.contentsOfDirectory(atPath: "/dev")) ?? []
        var out = ["--dev", "/dev"]
        for device in devices.sorted() where ["nvidia", "dri", "kfd", "accel"].contains(where: device.hasPrefix) {
            out += ["--dev-bind", "/dev/\(device)", "/dev/\(device)"]
        }
        return out
    }

    /// setpriv needs some to become the user, and drops them all. Without a user, root would take the sandbox apart from inside:
    /// with its own, or by /proc/sys, which its user id alone may write. Code that is not trusted writes nothing in /proc in any case.
    private var capabilities: [String] {
        (user == nil || view == .only ? ["--remount-ro", "/proc"] : [])
            + (user == nil ? ["--cap-drop", "ALL"] : ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"])
    }

    /// What the user may not enter is replaced by an empty folder, so that what lies deeper, and is his to see, can be mounted in it.
    private func bubblewrap(_ workingDirectory: String) -> [String] {
        guard let folders, let bwrap else { return [] }
        var out = [
            bwrap, "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--proc", "/proc",
        ]
        out += devices
        let shown = ([folders.project] + (Interpreter.found?.folders ?? [])).filter { $0 != "/" }
        let closed = Set((shown + [folders.home]).compactMap(closedAncestor)).sorted()
        // Sockets of other services lie in /run, of which only the resolver is needed.
        let empty = ["/tmp", "/run"] + closed + [folders.home]
        for folder in ["/run"] + closed { out += ["--tmpfs", folder] }
        // Shared memory is what data loaders pass their batches through.
        for folder in ["/tmp", "/dev/shm"] { out += ["--perms", "1777", "--tmpfs", folder] }
        out += ["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]
        // A project that lies inside the home is mounted after the home is hidden, any other one before: the home may lie inside of it.
        let inside = shown.filter { $0.hasPrefix(folders.home + "/") }
        for folder in shown where !inside.contains(folder) { out += way(to: folder, through: empty) + ["--ro-bind", folder, folder] }
        out += way(to: folders.home, through: empty) + ["--tmpfs", folders.home]
        for folder in inside { out += way(to: folder, through: empty) + ["--ro-bind", folder, folder] }
        for path in folders.hidden {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { continue }
            out += isFolder.boolValue ? ["--tmpfs", path] : ["--ro-bind", "/dev/null", path]
        }
        out += way(to: workingDirectory, through: empty)
        out += ["--bind", workingDirectory, workingDirectory, "--chdir", workingDirectory]
        return out + capabilities + ["--"]
    }

    /// In an empty folder bubblewrap makes those on the way to what is mounted for its own user alone, unless told otherwise.
    private func way(to folder: String, through empty: [String]) -> [String] {
        var path = ""
        var out: [String] = []
        for part in folder.split(separator: "/").dropLast() {
            path += "/" + part
            if empty.contains(where: { path.hasPrefix($0 + "/") }) { out += ["--perms", "0755", "--dir", path] }
        }
        return out
    }

    private var asUser: [String] {
        guard let user, let setpriv else { return [] }
        return [
            setpriv, "--reuid=\(user.uid)", "--regid=\(user.gid)", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
            "--no-new-privs",
            "--",
        ]
    }

    /// The first folder on the way to `path` that the user may not pass through.
    private func closedAncestor(of path: String) -> String? {
        guard let user else { return nil }
        var folder = ""
        for part in path.split(separator: "/").dropLast() {
            folder += "/" + part
            var status = stat()
            if stat(folder, &status) == 0, status.st_mode & 0o001 == 0, status.st_uid != user.uid { return folder }
        }
        return nil
    }
}
