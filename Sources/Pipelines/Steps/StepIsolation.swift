import Contracts
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// How the programs of steps are kept apart from the server, by what the machine offers. docs/steps.md says what each way refuses.
public struct StepIsolation: Sendable, Hashable {
    /// The setting `pipelines.sandbox`.
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

    enum Kind: String, Sendable {
        case bwrap, user, none
        /// Nothing works, and the server is root: its rights are not lent to programs.
        case refused
    }
    let kind: Kind
    let user: StepUser?
    let folders: Folders?
    private let bwrap = StepIsolation.systemProgram("bwrap")
    private let setpriv = StepIsolation.systemProgram("setpriv")
    /// What would be stricter, and why it does not work here.
    public private(set) var passedOver: [String] = []

    /// No isolation but the clean environment, the closed descriptors and the supervisor.
    public static let none = StepIsolation(kind: .none, user: nil, folders: nil)

    /// For the log and for `keel doctor`.
    public var description: String {
        switch kind {
        case .bwrap:
            "bwrap"
                + (user.map { ", as the user \($0.name)" }
                    ?? (geteuid() == 0 ? ", as root without its capabilities" : ", as the server's own user"))
        case .user: "the user \(user?.name ?? "")"
        case .none: "none"
        case .refused: "no way works here, so programs of steps are refused"
        }
    }
    /// For metrics.
    public var labels: [String: String] { ["by": kind.rawValue, "user": user?.name ?? ""] }
    /// Whether programs can read what the server's user can, its secrets among it.
    public var exposesSecrets: Bool { kind == .none }
    /// Whether steps with programs fail.
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
    /// - Parameter user: the setting `pipelines.user`.
    /// - Throws: `failedPrecondition` when the setting demands a way that does not work here.
    public static func choose(_ setting: Setting, user: String?, folders: Folders) async throws -> StepIsolation {
        let isRoot = geteuid() == 0
        if !isRoot, user != nil || setting == .user {
            throw KeelError(
                .failedPrecondition, "only root can start programs as another user", hint: "start the server as root",
                path: user == nil ? "pipelines.sandbox" : "pipelines.user")
        }
        let given = try user.map { name throws(KeelError) in try StepUser(named: name) }
        // Without a name, root hands programs to the user that owns nothing.
        let other = given ?? (isRoot ? try? StepUser(named: "nobody") : nil)
        func way(_ kind: Kind, _ user: StepUser?) -> StepIsolation { StepIsolation(kind: kind, user: user, folders: folders) }
        let boxes = other.map { [way(.bwrap, $0)] } ?? []
        let ownBox = given == nil ? [way(.bwrap, nil)] : []
        let ways: [StepIsolation] =
            switch setting {
            case .auto where isRoot: boxes + (other.map { [way(.user, $0)] } ?? []) + ownBox
            case .auto: ownBox + [.none]
            case .bwrap: boxes + ownBox
            case .user: other.map { [way(.user, $0)] } ?? []
            case .none: [.none]
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
            for (path, mode) in closed where StepIsolation.mode(of: path).map({ $0 != mode }) == true { chmod(path, mode) }
            problems.append("\(way.description): \(problem)")
        }
        if isRoot, other == nil { problems.append("this machine has no user 'nobody'") }
        if setting == .auto, given == nil {
            var refusal = way(.refused, nil)
            refusal.passedOver = problems
            return refusal
        }
        throw KeelError(
            .failedPrecondition, "programs of steps cannot be isolated as the settings say: " + problems.joined(separator: "; "),
            hint: "install bubblewrap, let the user read the project's folder, or set pipelines.sandbox to none", path: "pipelines.sandbox")
    }

    /// Why it does not work here; nil when a program ran within half a minute, read the project's folder and wrote into its own.
    private func problem() async -> String? {
        if kind == .none { return nil }
        if kind == .bwrap, bwrap == nil { return "bubblewrap is not installed" }
        if kind == .bwrap, user != nil, setpriv == nil { return "setpriv (of util-linux) is not installed" }
        let folder = (folders?.work ?? "") + "/isolation-" + Identifier.hex32()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            try prepare(folder: folder)
            let environment = ProgramEnvironment.base(workingDirectory: folder)
            let script = #"ls "$1" > /dev/null && echo works > "$2/answer" && { [ -z "$3" ] || "$3" -c ''; }"#
            let said = Mutex<[String]>([])
            let lines = Lines(masking: SecretMask([])) { line in said.withLock { $0.append(line) } }
            let command = ["/bin/sh", "-eu", "-c", script, "sh", folders?.project ?? "/", folder, Interpreter.found?.path ?? ""]
            let child = try process(command, environment: environment, workingDirectory: folder)
            let trial = Task { try await child.run { lines.add($0) } }
            let limit = Task {
                try await Task.sleep(for: .seconds(30))
                trial.cancel()
            }
            defer { limit.cancel() }
            let end = try await trial.value
            lines.finish()
            return end == .exited(0) ? nil : said.withLock { $0.last } ?? "a program of a trial ended with \(end)"
        } catch { return KeelError.wrapping(error).message }
    }

    // MARK: Running

    /// Makes the working directory of a step, and what belongs to it, the program's own.
    /// - Throws: `failedPrecondition` when programs are refused.
    func prepare(folder: String) throws {
        if kind == .refused { throw refusal }
        try FileManager.default.createDirectory(atPath: folder + "/tmp", withIntermediateDirectories: true)
        guard let user else { return }
        for path in [folder, folder + "/tmp"] {
            guard lchown(path, user.uid, user.gid) == 0 else {
                throw KeelError(
                    .unavailable, "the step's folder cannot be given to the user \(user.name): \(String(cString: strerror(errno)))")
            }
        }
        if kind == .user, let folders {
            // The way to its own folder: through the others it goes without reading them.
            for path in [folders.home, folders.work, (folder as NSString).deletingLastPathComponent] { StepIsolation.letThrough(path) }
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
    func process(
        _ command: [String], environment: [String: String], workingDirectory: String, limits: ProgramLimits = ProgramLimits()
    ) throws(KeelError) -> ChildProcess {
        switch kind {
        case .refused: throw refusal
        case .none:
            return ChildProcess(command: command, environment: environment, workingDirectory: workingDirectory, limits: limits)
        case .user:
            return ChildProcess(command: command, environment: environment, workingDirectory: workingDirectory, user: user, limits: limits)
        case .bwrap:
            return ChildProcess(
                command: command, launcher: bubblewrap(workingDirectory) + asUser, environment: environment,
                workingDirectory: workingDirectory,
                limits: limits)
        }
    }

    /// What the user may not enter is replaced by an empty folder, so that what lies deeper, and is his to see, can be mounted in it.
    private func bubblewrap(_ workingDirectory: String) -> [String] {
        guard let folders, let bwrap else { return [] }
        var out = [
            bwrap, "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
        ]
        let devices = (try? FileManager.default.contentsOfDirectory(atPath: "/dev")) ?? []
        // Accelerators: the empty /dev has none.
        for device in devices.sorted() where ["nvidia", "dri", "kfd", "accel"].contains(where: device.hasPrefix) {
            out += ["--dev-bind", "/dev/\(device)", "/dev/\(device)"]
        }
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
        // setpriv needs some to become the user, and drops them all. Without a user, root would take the sandbox apart from inside:
        // with its own, or by /proc/sys, which its user id alone may write.
        let capabilities =
            user == nil
            ? ["--remount-ro", "/proc", "--cap-drop", "ALL"]
            : ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
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

/// A user of this machine that programs of steps run as.
public struct StepUser: Sendable, Hashable {
    public let name: String
    let uid: uid_t
    let gid: gid_t

    /// - Throws: `notFound` when the machine has no such user.
    public init(named name: String) throws(KeelError) {
        guard let entry = getpwnam(name)?.pointee else {
            throw .notFound("this machine has no user '\(name)'", hint: "useradd --system \(name)")
        }
        self.name = name
        uid = entry.pw_uid
        gid = entry.pw_gid
    }
}

/// The isolation of a server's steps: chosen when it is first asked for, once.
public final class IsolationChoice: Sendable {
    private let choose: @Sendable () async throws -> StepIsolation
    private let task = Mutex<Task<StepIsolation, any Error>?>(nil)

    public init(_ choose: @escaping @Sendable () async throws -> StepIsolation) { self.choose = choose }

    public func value() async throws -> StepIsolation {
        let task = task.withLock { task in
            let chosen = task ?? Task { [choose] in try await choose() }
            task = chosen
            return chosen
        }
        return try await task.value
    }
}
